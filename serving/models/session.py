"""One ONNX graph in ONNX Runtime, checked against its manifest."""

import os
from functools import partial

# Official builds report usage from 1.29 on unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

from serving.batching.batch import Outputs, Rows, Run
from serving.bundle import ROLES, BundleError, Graph, Role
from serving.errors import StartupError, quoted
from serving.models.providers import ORT_NAMES, ORT_OPTIONS, Provider

_ERRORS_OFF = 4
"""Severity 'fatal': what matters is checked here and reported in our own words, in one line."""


class Session:
    """A graph. ``run`` and calls are thread-safe: ONNX Runtime allows concurrent runs.

    The operators run on the calling thread; the batcher's executors are the parallelism. Two
    single-threaded runs side by side beat one run with two threads on batches.
    """

    def __init__(self, content: bytes, graph: Graph, provider: Provider, *, role: Role) -> None:
        """Raises BundleError if the graph does not fit the manifest, StartupError for the provider."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_OFF
        # Spinning threads burn the cores that the event loop needs, and the cgroup quota.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Its own format is told by the content otherwise, and passes by what was checked of the ONNX file.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        wanted = ORT_NAMES[provider.name]
        try:
            providers = [(wanted, ORT_OPTIONS[provider.name])]
            self._session = ort.InferenceSession(content, options, providers=providers)
        except Exception as exc:  # ONNX Runtime's exceptions share no other base
            raise BundleError(f"{graph.file}: ONNX Runtime cannot load it: {_first_line(exc)}") from None
        if wanted not in self._session.get_providers():
            raise StartupError(f"provider {provider.name}: ONNX Runtime could not start it for {graph.file}")
        inputs, outputs = ROLES[role]
        self.inputs = tuple(graph.inputs[name] for name in inputs)
        """Names of the graph's inputs, in the order of ``ROLES``."""
        self._outputs = [graph.outputs[name] for name in outputs]
        self._check(graph, role)
        self.run: Run = partial(self._session.run, self._outputs)
        """[rows, …] by the name of the input → an array for each output, in the order of ``ROLES``."""

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


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0] if str(exc) else type(exc).__name__
