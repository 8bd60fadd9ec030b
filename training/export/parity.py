"""Parity: an exported graph must give what the PyTorch module gives, at every batch size."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Floats = NDArray[np.float32]

BATCHES = (1, 2, 3, 7, 64)
"""Batch sizes compared; the odd ones show whether the batch is truly dynamic."""
DRAWS = (1, 3)
"""Draws of each posterior with which a score is compared."""
TOLERANCE = 1e-4
"""Largest absolute difference allowed, in the units of the output."""
SCORE_TOLERANCE = 1e-5
"""Largest difference of a score allowed, relative to its size, or to a nat a pixel where it is smaller.

A score is a sum over pixels and float32 has 7 digits, so its rounding grows with the terms that are added
up, even where they cancel. For 28×28 pixels it allows 0.008 nats; models of MNIST are within 1e-7.
"""


def parity(
    content: bytes,
    module: nn.Module,
    rows: dict[str, Tensor],
    difference: Callable[[Floats, Floats], float] | None = None,
) -> dict[str, float]:
    """Largest difference between ONNX Runtime (CPU) and PyTorch (CPU), by batch size.

    Args:
        content: an ONNX file.
        module: what was exported, in evaluation mode, on the CPU.
        rows: input name to float32 [n, …] as it will come in use; repeated where a batch wants more.
        difference: of what was wanted and what came; left out, the largest absolute one.

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
        differences[str(size)] = max(
            _difference(want.numpy(), came, difference or _absolute) for want, came in pairs
        )
    return differences


def score_parity(content: bytes, module: nn.Module, rows: dict[str, Tensor]) -> dict[str, float]:
    """The same for a score, relative as ``SCORE_TOLERANCE`` says; the worst over ``DRAWS``.

    Args:
        rows: data [n, *X] by their name, and ``noise`` [n, k, *latent_shape], k at least the largest of
            ``DRAWS``.
    """
    pixels = next(tensor[0].numel() for name, tensor in rows.items() if name != "noise")

    def relative(want: Floats, came: Floats) -> float:
        return float((np.abs(want - came) / np.maximum(np.abs(want), pixels)).max())

    compared = [
        parity(content, module, rows | {"noise": rows["noise"][:, :draws]}, relative) for draws in DRAWS
    ]
    return {size: max(differences[size] for differences in compared) for size in compared[0]}


def cpu_session(content: bytes, *, threads: int = 0) -> ort.InferenceSession:
    """ONNX Runtime on the CPU, which speaks only of errors; 0 threads: one for each core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _absolute(want: Floats, came: Floats) -> float:
    return float(np.abs(want - came).max())


def _difference(want: Floats, came: Floats, of: Callable[[Floats, Floats], float]) -> float:
    if want.shape != came.shape or not (np.isfinite(want).all() and np.isfinite(came).all()):
        return float("inf")
    return of(want, came)
