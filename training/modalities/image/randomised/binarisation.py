"""Dynamic binarisation: grey pixels as the chance of black or white."""

import torch
from torch import Tensor


def binarise(images: Tensor, source: torch.Generator) -> Tensor:
    """Each pixel drawn from Bernoulli(pixel): [..., C, H, W] uint8 or [0, 1] floats -> 0 or 1 in float32."""
    return (thresholds(images.shape, images.dtype, source) < images).float()


def thresholds(shape: tuple[int, ...], dtype: torch.dtype, source: torch.Generator) -> Tensor:
    """Uniform numbers r with P(r < x) = x for a pixel x of this type, on the device of ``source``."""
    if dtype == torch.uint8:
        # P(r < x) = x / 255 exactly for r uniform in 0..254, at a quarter of the cost of float draws.
        return torch.randint(0, 255, shape, generator=source, dtype=torch.uint8, device=source.device)
    return torch.rand(shape, generator=source, device=source.device)
