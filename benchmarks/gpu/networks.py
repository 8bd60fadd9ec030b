"""The networks that are measured, with random weights: speed does not depend on what they have learned.

``conv`` is the MNIST network of the preset ``standard``. ``large`` has the decoder of latent diffusion's
autoencoder: latents 4×64×64 to colour images of 512×512, 49.5 million parameters.

Source: Rombach et al. 2022, https://arxiv.org/abs/2112.10752 (f = 8, channels 128 × (1, 2, 4, 4)).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import FitConfig
from training.modalities import build_model
from training.modalities.image.networks.codec import ImageDecoder, ImageEncoder
from training.modalities.image.presets import DEFAULT_WIDTH, PRESETS

_GROUPS = 32
_BLOCKS = 3
"""Residual blocks at each size of the decoder."""
_LATENT_CHANNELS = 4
CHANNELS = (512, 512, 256, 128)
"""Of the decoder, from the smallest maps to the largest."""
_LOG_VAR = -2.0


@dataclass(frozen=True)
class Network:
    name: str
    encoder: nn.Module
    """image [B, C, H, W] → mean, log_var [B, *latent_shape]."""
    decoder: nn.Module
    """latent [B, *latent_shape] → image [B, C, H, W] in [0, 1]."""
    image_shape: tuple[int, int, int]
    latent_shape: tuple[int, ...]


def conv() -> Network:
    torch.manual_seed(0)
    values = PRESETS["standard"].values | {"likelihood": "bernoulli", "width": DEFAULT_WIDTH["conv"]}
    model = build_model(FitConfig.parse({"data": "mnist", **values}), (1, 28, 28)).eval()
    return Network("conv", ImageEncoder(model), ImageDecoder(model), (1, 28, 28), model.latent_shape)


def large(channels: Sequence[int] = CHANNELS, latent_size: int = 64) -> Network:
    torch.manual_seed(0)
    size = latent_size * 2 ** (len(channels) - 1)
    latent_shape = (_LATENT_CHANNELS, latent_size, latent_size)
    decoder = _Decoder(channels).eval()
    return Network("large", _Encoder(size // latent_size).eval(), decoder, (3, size, size), latent_shape)


class _Encoder(nn.Module):
    """Only there because a bundle has one; it is not measured."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _LATENT_CHANNELS, stride, stride)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean: Tensor = self.patches(image)
        return mean, torch.zeros_like(mean) + _LOG_VAR


class _Residual(nn.Module):
    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.first = _normed(size_in, nn.Conv2d(size_in, size_out, 3, padding=1))
        self.second = _normed(size_out, nn.Conv2d(size_out, size_out, 3, padding=1))
        self.skip = nn.Identity() if size_in == size_out else nn.Conv2d(size_in, size_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.second(self.first(x))
        kept: Tensor = self.skip(x)
        return changed + kept


class _Attention(nn.Module):
    """One head over all places of the map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.queries_keys_values = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat: Tensor = self.queries_keys_values(self.norm(x)).flatten(2).transpose(1, 2)
        # ONNX wants the axis of the heads, though there is one.
        queries, keys, values = flat.unsqueeze(1).chunk(3, dim=3)
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        out: Tensor = self.out(mixed.transpose(2, 3).reshape(x.shape))
        return x + out


class _Decoder(nn.Module):
    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, last = channels[0], channels[-1]
        middle = [_Residual(first, first), _Attention(first), _Residual(first, first)]
        layers: list[nn.Module] = [nn.Conv2d(_LATENT_CHANNELS, first, 3, padding=1), *middle]
        before = first
        for level, size in enumerate(channels):
            layers += [_Residual(before if block == 0 else size, size) for block in range(_BLOCKS)]
            if level < len(channels) - 1:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(size, size, 3, padding=1)]
            before = size
        self.layers = nn.Sequential(*layers, _normed(last, nn.Conv2d(last, 3, 3, padding=1)))

    def forward(self, latent: Tensor) -> Tensor:
        return torch.sigmoid(self.layers(latent))


def _normed(channels: int, convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(_groups(channels), channels), nn.SiLU(), convolution)


def _groups(channels: int) -> int:
    return min(_GROUPS, channels)
