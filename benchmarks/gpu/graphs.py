"""The same graph without a server: in ONNX Runtime, with and without a CUDA graph, and in PyTorch."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu.card import seconds
from serving.runtime.providers import ORT_NAMES, ORT_OPTIONS, ProviderName


@dataclass(frozen=True)
class Timing:
    network: str
    role: str
    what: str
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


@dataclass(frozen=True)
class Subject:
    network: str
    role: str
    file: Path
    module: nn.Module
    row_shape: tuple[int, ...]

    def rows(self, count: int) -> NDArray[np.float32]:
        return np.random.default_rng(0).random((count, *self.row_shape), np.float32)

    def cost(self) -> "Cost":
        """Counted on tensors without memory."""
        module = copy.deepcopy(self.module).to("meta")
        counter = FlopCounterMode(display=False)
        inputs = torch.empty(1, *self.row_shape, device="meta")
        with counter, torch.inference_mode():
            outputs = module(inputs)
        tensors = (inputs, *(outputs if isinstance(outputs, tuple) else (outputs,)))
        weights = sum(weight.nbytes for weight in module.parameters())
        return Cost(int(counter.get_total_flops()), sum(one.nbytes for one in tensors), weights)


def timings(
    subject: Subject, device: ProviderName, sizes: list[int], failures: dict[str, str]
) -> Iterator[Timing]:
    """Every way of running the subject at every number of rows; a size that fails ends its way."""
    cost = subject.cost()
    for what, prepare in _WAYS.items():
        if device == "cpu" and what in _NOT_ON_CPU:
            continue
        for rows in sizes:
            try:
                took = seconds(prepare(subject, device, rows), device)
            except Exception as exc:  # what ONNX Runtime and the compiler raise has no base of its own
                failures[f"{subject.network} {subject.role} {what} {rows}"] = f"{type(exc).__name__}: {exc}"
                break
            yield Timing(
                subject.network,
                subject.role,
                what,
                rows,
                ms=1000 * took,
                rows_per_s=rows / took,
                flops_per_s=rows * cost.flops / took,
                bytes_per_s=(cost.weights + rows * cost.bytes) / took,
            )


def _session(file: Path, device: ProviderName, **options: str) -> Any:
    session = ort.InferenceSession(str(file), providers=[(ORT_NAMES[device], ORT_OPTIONS[device] | options)])
    if ORT_NAMES[device] not in session.get_providers():
        raise RuntimeError(f"ONNX Runtime has no {device} here")
    return session


def _from_host(subject: Subject, device: ProviderName, rows: int) -> Callable[[], object]:
    """numpy in, numpy out: what a server cannot avoid."""
    session, inputs = _session(subject.file, device), subject.rows(rows)
    feed = {session.get_inputs()[0].name: inputs}
    return lambda: session.run(None, feed)


def _bound(subject: Subject, device: ProviderName, rows: int, **options: str) -> Callable[[], object]:
    """Everything stays on the device, in the same memory at each run; checked against a plain run.

    The plain run has a session of its own: a CUDA graph is captured in a session's first runs.
    """
    inputs, plain = subject.rows(rows), _session(subject.file, device)
    name = plain.get_inputs()[0].name
    expected = plain.run(None, {name: inputs})
    session = _session(subject.file, device, **options)
    binding = session.io_binding()
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(inputs, device, 0))
    for output, array in zip(session.get_outputs(), expected, strict=True):
        empty = np.zeros_like(array)
        binding.bind_ortvalue_output(output.name, ort.OrtValue.ortvalue_from_numpy(empty, device, 0))
    for _ in range(2):
        session.run_with_iobinding(binding)
    for array, came in zip(expected, binding.copy_outputs_to_cpu(), strict=True):
        np.testing.assert_allclose(came, array, rtol=1e-3, atol=1e-3)
    return lambda: session.run_with_iobinding(binding)


def _in_torch(
    subject: Subject,
    device: ProviderName,
    rows: int,
    *,
    kind: torch.dtype = torch.float32,
    compiled: bool = False,
) -> Callable[[], object]:
    torch.cuda.empty_cache()  # of the size before; nothing without a GPU
    inputs = torch.from_numpy(subject.rows(rows)).to(device, kind)
    module: Any = copy.deepcopy(subject.module).to(device, kind)
    if compiled:
        torch._dynamo.reset()  # else it would compile for any size from the second size on
        module = torch.compile(module)

    def run() -> object:
        with torch.inference_mode():
            return module(inputs)

    return run


_WAYS: dict[str, Callable[[Subject, ProviderName, int], Callable[[], object]]] = {
    "ort_host": _from_host,
    "ort": _bound,
    "ort_cuda_graph": partial(_bound, enable_cuda_graph="1"),
    "torch_eager": _in_torch,
    "torch_bfloat16": partial(_in_torch, kind=torch.bfloat16),
    "torch_compile": partial(_in_torch, compiled=True),
}
_NOT_ON_CPU = ("ort_cuda_graph", "torch_compile")
"""What is about GPUs, and the compiler, which would want one for C++."""
