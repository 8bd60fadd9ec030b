"""Parity: an exported graph must give what the PyTorch module gives, at every batch size."""

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BATCHES = (1, 2, 3, 7, 64)
"""Batch sizes compared; the odd ones show whether the batch is truly dynamic."""
TOLERANCE = 1e-4
"""Largest absolute difference allowed, in the units of the output."""


def parity(content: bytes, module: nn.Module, rows: dict[str, Tensor]) -> dict[str, float]:
    """Largest absolute difference between ONNX Runtime (CPU) and PyTorch (CPU), by batch size.

    Args:
        content: an ONNX file.
        module: what was exported, in evaluation mode, on the CPU.
        rows: input name to float32 [n, …] as it will come in use; repeated where a batch wants more.

    Returns:
        ``{"1": …, "64": …}``, infinite where a shape differs or a value is not finite.
    """
    session = cpu_session(content)
    differences = {}
    for size in BATCHES:
        batch = {name: tensor[torch.arange(size) % len(tensor)] for name, tensor in rows.items()}
        with torch.inference_mode():
            expected = module(*batch.values())
        tensors = expected if isinstance(expected, tuple) else (expected,)
        got = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
        pairs = zip(tensors, got, strict=True)
        differences[str(size)] = max(_difference(want.numpy(), came) for want, came in pairs)
    return differences


def cpu_session(content: bytes) -> ort.InferenceSession:
    """ONNX Runtime on the CPU, which speaks only of errors."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _difference(want: NDArray[np.float32], came: NDArray[np.float32]) -> float:
    if want.shape != came.shape or not (np.isfinite(want).all() and np.isfinite(came).all()):
        return float("inf")
    return float(np.abs(want - came).max())
