"""Residual convolutions, strided, built from the image shape.

On the way down each stage halves height and width, rounding up; on the way up each stage doubles them
and crops to what the encoder had there. So any shape from 4×4 on fits, odd and non-square ones too.
No normalisation: residual branches begin at zero instead (SkipInit, arXiv:2002.10444), which trains
as well at this depth, costs nothing on a CPU and leaves one image independent of its batch.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.posterior_head import PosteriorHead

SMALLEST_TO_HALVE = 8
"""Height and width from which on a further stage pays."""
WIDEST = 4
"""The channels double with each stage up to this many times the width."""
FEATURES = 256
"""Units between the flattened map and the latents."""


class ResidualBlock(nn.Module):
    """x + conv(dropout(silu(conv(silu(x))))): [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.first(F.silu(x)))
        branch: Tensor = self.second(F.dropout(hidden, self.dropout, self.training))
        return x + branch


class Upsample(nn.Module):
    """Twice the size, cropped to ``size``: [B, I, h, w] -> [B, O, H, W]."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        doubled: Tensor = self.conv(x)
        return doubled[:, :, :height, :width]


def stages(image_shape: tuple[int, int, int], width: int) -> list[tuple[int, int, int]]:
    """Channels, height, width of the image and of each stage, from the image inwards."""
    shapes = [image_shape]
    _, height, columns = image_shape
    while not shapes[1:] or min(height, columns) >= SMALLEST_TO_HALVE:
        height, columns = -(-height // 2), -(-columns // 2)
        shapes.append((width * min(WIDEST, 2 ** (len(shapes) - 1)), height, columns))
    return shapes


class Encoder(nn.Module):
    """[B, C, H, W] -> mean, log-variance [B, Z]."""

    def __init__(
        self, image_shape: tuple[int, int, int], latent: int, width: int, depth: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = dropout
        shapes = stages(image_shape, width)
        layers: list[nn.Module] = []
        for (inputs, _, _), (channels, _, _) in itertools.pairwise(shapes):
            layers.append(nn.Conv2d(inputs, channels, 3, stride=2, padding=1))
            layers.extend(ResidualBlock(channels, dropout) for _ in range(depth))
        channels, height, columns = shapes[-1]
        self.down = nn.Sequential(*layers)
        self.features = nn.Linear(channels * height * columns, FEATURES)
        self.head = PosteriorHead(FEATURES, latent)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        feature_map = F.silu(self.down(image))
        if (
            feature_map.requires_grad and not torch.compiler.is_compiling()
        ):  # the gradient of flatten comes back as rows of maps
            feature_map.register_hook(channels_last)
        features = F.silu(self.features(feature_map.flatten(1)))
        mean, log_var = self.head(F.dropout(features, self.dropout, self.training))
        return mean, log_var


class Decoder(nn.Module):
    """[B, Z] -> logits [B, P, H, W], whose number of planes the likelihood knows."""

    def __init__(self, logits_shape: tuple[int, int, int], latent: int, width: int, depth: int) -> None:
        super().__init__()
        shapes = stages(logits_shape, width)
        self.innermost = shapes[-1]
        channels, height, columns = self.innermost
        self.features = nn.Linear(latent, FEATURES)
        self.expand = nn.Linear(FEATURES, channels * height * columns)
        layers: list[nn.Module] = []
        for inner, outer in zip(shapes[:0:-1], shapes[-2::-1], strict=True):
            layers.extend(ResidualBlock(inner[0]) for _ in range(depth))
            layers.extend([nn.SiLU(), Upsample(inner[0], outer[0], outer[1:])])
        self.up = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        hidden = self.expand(F.silu(self.features(latent)))
        logits: Tensor = self.up(channels_last(hidden.unflatten(1, self.innermost)))
        return logits


def channels_last(feature_map: Tensor) -> Tensor:
    """In the layout of the weights, else every residual sum of that stage mixes two: a tenth of a step.

    [B, C, H, W] -> the same.
    """
    return feature_map.contiguous(memory_format=torch.channels_last)
