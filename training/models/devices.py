"""Which device computes, and what it is good at."""

import torch
from torch import nn

from training.config import MOST_THREADS
from training.training_error import TrainingError


def find_device(name: str) -> torch.device:
    """Raises TrainingError if CUDA is asked for and not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: no CUDA device is visible to PyTorch; want cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def use_threads(count: int | None) -> None:
    """On the CPU, for all that follows in this process; None leaves them as they are.

    Raises:
        TrainingError: a count below 1, or beyond what any machine has.
    """
    if count is not None:
        if not 1 <= count <= MOST_THREADS:
            raise TrainingError(f"--threads {count}: want 1 to {MOST_THREADS}")
        torch.set_num_threads(count)


def search_kernels(device: torch.device) -> None:
    """Of a GPU: for each shape the quickest convolution, found by trying. A training has few shapes."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def lay_out(model: nn.Module) -> None:
    """Weights channels-last, in place: up to twice as fast for bfloat16 convolutions on a CPU."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # mypy's stub lacks it


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 has instructions of its own there; emulated, it is many times slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())  # the question has no public form in torch 2.9
