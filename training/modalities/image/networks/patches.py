"""Convolutions for large images: patches first, and width where the map is small.

A stem takes patches of p×p pixels at once, so no layer ever convolves at full resolution, where a channel
costs most and sees least: the first map has a side of about 32, and no residual blocks. From there on stages
halve it as in ``conv``, and channels double. Any shape fits: what does not divide is padded on the way down
and cropped on the way up.

Latents are a vector, or a map (C, H, W) as autoencoders of latent diffusion have it (arXiv:2112.10752):
then the stages end where the map has H×W.
"""

import itertools
import math

import torch.nn.functional as F
from torch import Tensor, nn

from training.modalities.image.networks.conv import ResidualBlock, Upsample, channels_last
from training.models.posterior_head import LOG_VAR_RANGE, PosteriorHead
from training.training_error import TrainingError

SMALLEST_TO_HALVE = 8
"""Height and width from which on a further stage pays."""
WIDEST = 4
"""The channels double with each stage up to this many times the width."""
SMALLEST_MAP = 2
"""Height and width of a map of latents."""
MAP_CHANNELS = 4
MOST_IN_POOLS = 1024
"""Latents: a covariance of so many squared is 4 MiB a pool."""
FEATURES = 512
"""Units between a vector of latents and the flattened map."""

Shape = tuple[int, int, int]


def patch_side(image_shape: Shape, latent_shape: tuple[int, ...]) -> int:
    """Pixels. Of a vector of latents: 2 up to a side of 64, 4 up to 191, then 8.

    A map of latents has the second map's size or a smaller one, and patches of at most 8.
    """
    if len(latent_shape) == 1:
        side = min(image_shape[1:])
        return 2 if side <= 64 else 4 if side < 192 else 8
    halvings = _sizes_of_maps(image_shape).index(_size(latent_shape)) + 1
    return int(2 ** min(3, halvings - 1))


def default_map(image_shape: Shape) -> Shape:
    """Of latents: the largest of four channels that pools can still have a covariance of."""
    fitting = [(MAP_CHANNELS, *size) for size in _sizes_of_maps(image_shape)[2:]]
    return next((shape for shape in fitting if math.prod(shape) <= MOST_IN_POOLS), fitting[-1])


def check_map(latent_shape: tuple[int, ...], image_shape: Shape) -> None:
    """Raises TrainingError where a map of latents is not the image, halved some times."""
    sizes = _sizes_of_maps(image_shape)
    if len(latent_shape) > 1 and _size(latent_shape) not in sizes:
        came = "x".join(map(str, latent_shape))
        fitting = ", ".join(f"{latent_shape[0]}x{height}x{columns}" for height, columns in sizes)
        raise TrainingError(
            f"--latent {came}: images of {image_shape[1]}x{image_shape[2]} pixels have maps of other sizes; "
            f"want one of {fitting}"
        )


def _size(latent_shape: tuple[int, ...]) -> tuple[int, int]:
    _, height, columns = latent_shape
    return height, columns


def _sizes_of_maps(image_shape: Shape) -> list[tuple[int, int]]:
    """Height and width of the image halved once, twice … rounded up, while both are 2 at least."""
    _, height, columns = image_shape
    sizes: list[tuple[int, int]] = []
    while not sizes or min(height, columns) >= SMALLEST_MAP * 2:
        height, columns = -(-height // 2), -(-columns // 2)
        sizes.append((height, columns))
    return sizes


def stages(image_shape: Shape, latent_shape: tuple[int, ...], width: int) -> list[Shape]:
    """Channels, height and width of each map, from the stem's inwards: two at least.

    The last is as large as a map of latents; for a vector it is one that is not worth halving.
    """
    patch = patch_side(image_shape, latent_shape)
    height, columns = (-(-side // patch) for side in image_shape[1:])
    shapes = [(width, height, columns)]
    while len(shapes) < 2 or not _is_last((height, columns), latent_shape):
        height, columns = -(-height // 2), -(-columns // 2)
        shapes.append((width * min(WIDEST, 2 ** len(shapes)), height, columns))
    return shapes


def _is_last(size: tuple[int, int], latent_shape: tuple[int, ...]) -> bool:
    return min(size) < SMALLEST_TO_HALVE if len(latent_shape) == 1 else size == _size(latent_shape)


class Encoder(nn.Module):
    """[B, C, H, W] -> mean, log-variance [B, *latent_shape]."""

    def __init__(
        self,
        image_shape: Shape,
        latent_shape: tuple[int, ...],
        width: int,
        depth: int,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        patch = patch_side(image_shape, latent_shape)
        shapes = stages(image_shape, latent_shape, width)
        self.padding = (0, -image_shape[2] % patch, 0, -image_shape[1] % patch)
        self.stem = nn.Conv2d(image_shape[0], width, patch, stride=patch)
        layers: list[nn.Module] = [nn.SiLU()]
        for (inputs, _, _), (channels, _, _) in itertools.pairwise(shapes):
            layers.append(nn.Conv2d(inputs, channels, 3, stride=2, padding=1))
            layers.extend(ResidualBlock(channels, dropout) for _ in range(depth))
        self.down = nn.Sequential(*layers)
        self.head = _head(shapes[-1], latent_shape)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(image, self.padding, mode="replicate") if any(self.padding) else image
        mean, log_var = self.head(F.silu(self.down(self.stem(padded))))
        return mean, log_var


class MapHead(nn.Module):
    """Feature map [B, F, H, W] -> mean and log-variance of q(z|x), each [B, C, H, W]."""

    def __init__(self, features: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(features, 2 * channels, 1)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.conv(feature_map).chunk(2, dim=1)
        return mean, log_var.clamp(*LOG_VAR_RANGE)


class VectorHead(nn.Module):
    """Feature map [B, F, H, W] -> mean and log-variance of q(z|x), each [B, Z]."""

    def __init__(self, shape: Shape, latent: int) -> None:
        super().__init__()
        channels, height, columns = shape
        self.features = nn.Linear(channels * height * columns, FEATURES)
        self.posterior = PosteriorHead(FEATURES, latent)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.posterior(F.silu(self.features(feature_map.flatten(1))))
        return mean, log_var


def _head(shape: Shape, latent_shape: tuple[int, ...]) -> nn.Module:
    if len(latent_shape) == 1:
        return VectorHead(shape, latent_shape[0])
    return MapHead(shape[0], latent_shape[0])


class Decoder(nn.Module):
    """[B, *latent_shape] -> logits [B, P, H, W], whose number of planes the likelihood knows."""

    def __init__(self, logits_shape: Shape, latent_shape: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        patch = patch_side(logits_shape, latent_shape)
        shapes = stages(logits_shape, latent_shape, width)
        self.innermost = shapes[-1]
        self.image_size = logits_shape[1:]
        self.expand: nn.Module
        if len(latent_shape) == 1:
            channels, height, columns = self.innermost
            self.expand = nn.Sequential(
                nn.Linear(latent_shape[0], FEATURES),
                nn.SiLU(),
                nn.Linear(FEATURES, channels * height * columns),
                nn.Unflatten(1, self.innermost),
            )
        else:
            self.expand = nn.Conv2d(latent_shape[0], self.innermost[0], 3, padding=1)
        layers: list[nn.Module] = []
        for inner, outer in itertools.pairwise(shapes[::-1]):
            layers.extend(ResidualBlock(inner[0]) for _ in range(depth))
            layers.extend([nn.SiLU(), Upsample(inner[0], outer[0], outer[1:])])
        self.up = nn.Sequential(*layers)
        self.pixels = nn.ConvTranspose2d(width, logits_shape[0], 2 * patch, stride=patch, padding=patch // 2)

    def forward(self, latent: Tensor) -> Tensor:
        height, columns = self.image_size
        logits: Tensor = self.pixels(F.silu(self.up(channels_last(self.expand(latent)))))
        return logits[:, :, :height, :columns]
