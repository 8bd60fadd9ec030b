"""The ways of running a graph without a server: in ONNX Runtime, with a CUDA graph or not, and in PyTorch.

A process that is asked for one timing after another (``children.py``): what fails on a card may take the
process with it.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu import bundles, networks
from benchmarks.gpu.card import Ceilings, ceilings, seconds
from benchmarks.gpu.children import Answer, answering
from benchmarks.gpu.sessions import session
from serving.bundle import Role, read
from serving.runtime.providers import Provider, ProviderName
from serving.runtime.session import Session

Rows = NDArray[np.float32]

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Timing:
    network: str
    role: str
    way: str
    rows: int
    ms: float
    rows_per_s: float
    flops_per_s: float
    """Of the layers that multiply matrices or convolve."""
    bytes_per_s: float
    """At least: weights, inputs and outputs, each moved once."""


@dataclass(frozen=True)
class Cost:
    flops: int
    """Of one row."""
    bytes: int
    """Read and written for one row."""
    weights: int
    """Bytes read for a batch of any size."""


class Subject:
    """A graph, and what is kept of it from one timing to the next: one session, and the outputs it gave."""

    def __init__(self, file: Path, role: Role, module: nn.Module, row_shape: tuple[int, ...]) -> None:
        self.file, self.role, self.module, self.row_shape = file, role, module, row_shape
        self.cost = _cost(module, row_shape)
        self._plain: Any = None
        self._outputs: dict[int, list[Rows]] = {}
        self._input = ""
        self.close: Callable[[], None] = _nothing
        """Gives back what the last timing has taken."""

    def rows(self, count: int) -> Rows:
        return np.random.default_rng(0).random((count, *self.row_shape), np.float32)

    def plain(self, device: ProviderName) -> Any:
        """A session with the server's options; made once, for it takes a second."""
        if self._plain is None:
            self._plain = session(self.file, device)
            self._input = self._plain.get_inputs()[0].name
        return self._plain

    def input(self, device: ProviderName) -> str:
        """Its name."""
        return self._input or str(self.plain(device).get_inputs()[0].name)

    def outputs(self, device: ProviderName, rows: int) -> list[Rows]:
        if rows not in self._outputs:
            self._outputs[rows] = self.plain(device).run(None, {self.input(device): self.rows(rows)})
        return self._outputs[rows]

    def let_go(self) -> None:
        """Of the memory of the card; outputs are kept."""
        self._plain = None


def _nothing() -> None:
    """To give back."""


def _cost(module: nn.Module, row_shape: tuple[int, ...]) -> Cost:
    """Counted on tensors without memory."""
    copied = copy.deepcopy(module).to("meta")
    counter = FlopCounterMode(display=False)
    inputs = torch.empty(1, *row_shape, device="meta")
    with counter, torch.inference_mode():
        outputs = copied(inputs)
    tensors = (inputs, *(outputs if isinstance(outputs, tuple) else (outputs,)))
    weights = sum(weight.nbytes for weight in copied.parameters())
    return Cost(int(counter.get_total_flops()), sum(one.nbytes for one in tensors), weights)


def _from_host(subject: Subject, device: ProviderName, rows: int) -> Callable[[], object]:
    """numpy in, numpy out: what a server cannot avoid."""
    plain, feed = subject.plain(device), {subject.input(device): subject.rows(rows)}
    subject.outputs(device, rows)
    return lambda: plain.run(None, feed)


def _bound(subject: Subject, device: ProviderName, rows: int, **options: str) -> Callable[[], object]:
    """Everything stays on the device, in the same memory at each run; checked against a plain run.

    In a session of its own: a CUDA graph is captured in a session's first runs.
    """
    name, expected = subject.input(device), subject.outputs(device, rows)
    subject.let_go()
    made = session(subject.file, device, **options)
    binding = made.io_binding()
    inputs = subject.rows(rows)
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(inputs, device, 0))
    for output, array in zip(made.get_outputs(), expected, strict=True):
        empty = np.zeros_like(array)
        binding.bind_ortvalue_output(output.name, ort.OrtValue.ortvalue_from_numpy(empty, device, 0))
    for _ in range(3):
        made.run_with_iobinding(binding)
    for array, came in zip(expected, binding.copy_outputs_to_cpu(), strict=True):
        np.testing.assert_allclose(came, array, rtol=_TOLERANCE, atol=_TOLERANCE)
    return lambda: made.run_with_iobinding(binding)


def _ours(subject: Subject, device: ProviderName, rows: int, *, records: bool) -> Callable[[], object]:
    """numpy in, numpy out, as the server runs it: in buffers that are bound once, recorded or not."""
    name, expected = subject.input(device), subject.outputs(device, rows)
    subject.let_go()
    provider = Provider(device, "the benchmark's", binds_on_cpu=True, records=records)
    sealed = read(subject.file.parent, 1 << 40)
    graph = sealed.manifest.graphs[subject.role]
    made = Session(sealed.content(graph.file), graph, provider, role=subject.role, most_rows=rows)
    subject.close = made.close
    feed = {name: subject.rows(rows)}
    for _ in range(2):
        came = made.run(feed)
    for array, answer in zip(expected, came, strict=True):
        np.testing.assert_allclose(answer, array, rtol=_TOLERANCE, atol=_TOLERANCE)
    return lambda: made.run(feed)


def _in_torch(
    subject: Subject,
    device: ProviderName,
    rows: int,
    *,
    kind: torch.dtype = torch.float32,
    compiled: bool = False,
) -> Callable[[], object]:
    subject.let_go()
    inputs = torch.from_numpy(subject.rows(rows)).to(device, kind)
    module: Any = copy.deepcopy(subject.module).to(device, kind)
    if compiled:
        torch._dynamo.reset()  # else it would compile for any size from the second size on
        module = torch.compile(module)

    def run() -> object:
        with torch.inference_mode():
            return module(inputs)

    return run


WAYS: dict[str, Callable[[Subject, ProviderName, int], Callable[[], object]]] = {
    "ort_host": _from_host,
    "ort_bound": _bound,
    "ort_cuda_graph": partial(_bound, enable_cuda_graph="1"),
    "ours_bound": partial(_ours, records=False),
    "ours_recorded": partial(_ours, records=True),
    "torch_eager": _in_torch,
    "torch_bfloat16": partial(_in_torch, kind=torch.bfloat16),
    "torch_compile": partial(_in_torch, compiled=True),
}


class Timer:
    def __init__(self, device: ProviderName, work: Path) -> None:
        self._device, self._work = device, work
        self._subjects: dict[tuple[str, str], Subject] = {}
        self._ceilings: Ceilings | None = None

    def __call__(self, question: Answer) -> Answer:
        if self._ceilings is None:
            self._ceilings = ceilings(self._device)
        if "way" not in question:
            return asdict(self._ceilings)
        network, role, rows = question["network"], question["role"], question["rows"]
        subject = self._subject(network, role)
        if self._device == "cuda":
            torch.cuda.empty_cache()  # of the timing before
        try:
            took = seconds(WAYS[question["way"]](subject, self._device, rows), self._device)
        finally:
            subject.close()
            subject.close = _nothing
        cost = subject.cost
        timing = Timing(
            network,
            role,
            question["way"],
            rows,
            ms=1000 * took,
            rows_per_s=rows / took,
            flops_per_s=rows * cost.flops / took,
            bytes_per_s=(cost.weights + rows * cost.bytes) / took,
        )
        return asdict(timing) | self._ceilings.shares(timing.flops_per_s, timing.bytes_per_s)

    def _subject(self, name: str, role: Role) -> Subject:
        if (name, role) not in self._subjects:
            for other in self._subjects.values():
                other.let_go()
            network = self._network(name)
            decodes = role == "decoder"
            self._subjects[name, role] = Subject(
                self._work / bundles.FOLDERS[name] / name / "1" / f"{role}.onnx",
                role,
                network.decoder if decodes else network.encoder,
                network.latent_shape if decodes else network.image_shape,
            )
        return self._subjects[name, role]

    def _network(self, name: str) -> networks.Network:
        if name == "conv":
            return networks.conv()
        if self._device == "cuda":
            return networks.large()
        return networks.large(bundles.REHEARSED_CHANNELS, bundles.REHEARSED_LATENTS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.ways")
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    answering(Timer(options.device, options.work))


if __name__ == "__main__":
    main()
