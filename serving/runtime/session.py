"""One ONNX graph in ONNX Runtime, checked against its manifest."""

import logging
from contextlib import nullcontext
from copy import copy
from functools import partial
from itertools import count
from typing import Any

import onnxruntime as ort

from serving.batching.batch import Outputs, Rows, Run
from serving.bundle import ROLES, BundleError, Graph, Role, Roles
from serving.errors import StartupError, is_short_of_memory, quoted
from serving.metrics.instruments import Count
from serving.runtime.bound_runs import BoundRuns, NewBuffer, Turn, at_once
from serving.runtime.buffers import DeviceBuffer, HostBuffer
from serving.runtime.cuda_driver import alone
from serving.runtime.pixels import FINITE, PIXELS, with_pixels
from serving.runtime.providers import ORT_NAMES, Provider

log = logging.getLogger(__name__)

_ERRORS_OFF = 4
"""Severity 'fatal': what matters is checked here and reported in our own words, in one line."""
_MOST_ROWS = 1 << 16


class Session:
    """A graph. ``run`` and calls are thread-safe.

    On the CPU the operators run on the calling thread; the batcher's executors are the parallelism. Two
    single-threaded runs side by side beat one run with two threads on batches.
    """

    def __init__(
        self,
        content: bytes,
        graph: Graph,
        provider: Provider,
        *,
        role: Role,
        roles: Roles = ROLES,
        most_rows: int = _MOST_ROWS,
        turn: Turn = at_once,
        pixels_of: tuple[float, float] | None = None,
    ) -> None:
        """``roles`` are those of the kind of data. On a GPU every run takes its ``turn``, and one of more
        than ``most_rows`` is divided.

        ``pixels_of`` a range of values: a decoder in bound buffers has ``pixels`` too.

        Raises:
            BundleError: the graph does not fit the manifest.
            StartupError: the provider cannot run it.
            MemoryError: the GPU has too little.
        """
        inputs, outputs = roles[role]
        with_bytes = None
        if pixels_of and provider.binds:
            with_bytes = with_pixels(content, graph.outputs[outputs[0]], pixels_of)
        self._session, gives_pixels = _open(content, with_bytes, graph.file, provider)
        self.inputs = tuple(graph.inputs[name] for name in inputs)
        """Names of the graph's inputs, in the order of ``roles``."""
        self._turn = turn
        self._outputs = [graph.outputs[name] for name in outputs]
        self._check(graph, role)
        self._bound: BoundRuns | None = None
        self.pixels: Session | None = None
        """The same, giving [rows, C, H, W] uint8, and what is finite for images that are; if it can."""
        if provider.binds:
            buffer = DeviceBuffer if provider.on_gpu else HostBuffer
            self._bind(buffer, most_rows, turn, gives_pixels=gives_pixels)
        self.run_plain: Run = partial(self._session.run, self._outputs)
        """``run`` in memory that ONNX Runtime takes and gives back."""
        self.run: Run = self._bound.run if self._bound else self.run_plain
        """[rows, …] by the name of the input → an array for each output, in the order of ``roles``."""

    def count_seconds(self, *, copying: Count, computing: Count) -> None:
        """Add to these what copies to the device and back, and runs in bound buffers, take from now on."""
        if self._bound:
            self._bound.copying, self._bound.computing = copying, computing

    def close(self) -> None:
        """Give back what is bound, and the session, on the thread of the runs; no run may follow."""

        def let_go() -> Outputs:
            for bound in (self._bound, self.pixels and self.pixels._bound):
                if bound:
                    bound.close()
            self._session, self.run, self.run_plain = None, _closed, _closed
            if self.pixels:
                self.pixels._session = None
            return []

        self._turn(let_go)

    def padding(self, rows: int) -> int:
        """How many rows are computed beside so many, to no purpose."""
        return self._bound.bucket_rows(rows) - rows if self._bound else 0

    def _bind(self, buffer: NewBuffer, most_rows: int, turn: Turn, *, gives_pixels: bool) -> None:
        bound = partial(
            BoundRuns,
            self._session,
            self.inputs,
            buffer=buffer,
            most_rows=most_rows,
            turn=turn,
            graphs=count(1),  # 0 is what ONNX Runtime takes if it is told none
        )
        self._bound = bound(self._outputs)
        if gives_pixels:
            self.pixels = copy(self)
            self.pixels._bound = bound((PIXELS, FINITE))
            self.pixels.run = self.pixels._bound.run

    def __call__(self, *rows: Rows) -> Outputs:
        """The same for arrays in the order of ``inputs``."""
        return self.run(dict(zip(self.inputs, rows, strict=True)))

    def _check(self, graph: Graph, role: Role) -> None:
        inputs = {node.name: node for node in self._session.get_inputs()}
        outputs = {node.name: node for node in self._session.get_outputs()}
        wanted = [(name, inputs) for name in self.inputs] + [(name, outputs) for name in self._outputs]
        for name, nodes in wanted:
            if name not in nodes:
                raise BundleError(
                    f"{graph.file}: the {role} has no tensor {quoted(name)}, only {', '.join(nodes)}"
                )
            node = nodes[name]
            if node.type != "tensor(float)" or not node.shape or isinstance(node.shape[0], int):
                raise BundleError(
                    f"{graph.file}: {name}: want float32 with a dynamic batch, came {node.type} {node.shape}"
                )
        if set(inputs) != set(self.inputs):
            known = ", ".join(self.inputs)
            raise BundleError(f"{graph.file}: want no inputs but {known}, came {', '.join(inputs)}")


def _closed(_: dict[str, Rows]) -> Outputs:
    raise RuntimeError("the session is closed")


def _open(content: bytes, extended: bytes | None, file: str, provider: Provider) -> tuple[Any, bool]:
    """The session, and whether it is of the ``extended`` graph.

    What is extended, or recorded as a CUDA graph, is better but not needed: a foreign graph may be of too old
    a version for the one, or have operators on the CPU, which rules out the other.
    """
    recorded = (True, False) if provider.name == "cuda" and provider.records else (False,)
    graphs = [graph for graph in (extended, content) if graph is not None]
    problem: Exception | None = None
    for cuda_graphs in recorded:
        for graph in graphs:
            try:
                session = _new(graph, provider, cuda_graphs=cuda_graphs)
            except Exception as exc:  # ONNX Runtime's exceptions share no other base
                problem = exc
                continue
            if problem:
                log.info("%s: runs plainly, since otherwise: %s", file, _first_line(problem))
            if ORT_NAMES[provider.name] not in session.get_providers():
                raise StartupError(f"provider {provider.name}: ONNX Runtime could not start it for {file}")
            return session, graph is extended
    assert problem
    if is_short_of_memory(problem):
        raise MemoryError(_first_line(problem)) from None
    raise BundleError(f"{file}: ONNX Runtime cannot load it", _first_line(problem)) from None


def _new(content: bytes, provider: Provider, *, cuda_graphs: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_OFF
    # Spinning threads burn the cores that the event loop needs, and the cgroup quota.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Its own format is told by the content otherwise, and passes by what was checked of the ONNX file.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    providers = provider.ort_providers(cuda_graphs=cuda_graphs)
    with alone if provider.on_gpu else nullcontext():
        # Its fallback would take another provider, or the same without our options, and tell stdout.
        return ort.InferenceSession(content, options, providers=providers, enable_fallback=0)


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0] if str(exc) else type(exc).__name__
