"""Everything random in training, as a pure function of (seed, step).

No generator lives longer than a step, so a resumed run needs no generator state to repeat the
uninterrupted one, and no step can disturb another.
"""

from enum import IntEnum
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from training.data import Split, to_unit


class Stream(IntEnum):
    """What the numbers are for; no two uses share a sequence."""

    WEIGHTS = 0
    ORDER = 1
    STEP = 2
    VALIDATION = 3


def generator(
    seed: int, stream: Stream, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator. SeedSequence mixes its arguments well, torch's own seeding does not."""
    mixed = np.random.SeedSequence((seed, stream, index)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]))


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The order in which an epoch shows its images: a permutation [count] int64."""
    return torch.randperm(count, generator=generator(seed, Stream.ORDER, epoch))


def batch_rows(seed: int, step: int, count: int, batch_size: int) -> Tensor:
    """Rows [batch_size] of one step. An epoch leaves out what does not fill a batch, others each time."""
    epoch, position = divmod(step, count // batch_size)
    return epoch_order(seed, epoch, count)[position * batch_size : (position + 1) * batch_size]


def binarise(images: Tensor, source: torch.Generator) -> Tensor:
    """Each pixel drawn from Bernoulli(pixel): [..., C, H, W] uint8 or [0, 1] floats -> 0 or 1 in float32."""
    if images.dtype == torch.uint8:
        # P(r < x) = x / 255 exactly for r uniform in 0..254, at a quarter of the cost of float draws.
        uniform = torch.randint(
            0, 255, images.shape, generator=source, dtype=torch.uint8, device=images.device
        )
        return (uniform < images).float()
    return torch.bernoulli(images, generator=source)


class Batches:
    """The training images of each step, with the noise of their posteriors."""

    def __init__(
        self, split: Split, *, seed: int, batch_size: int, binary: bool, latent_shape: tuple[int, ...]
    ) -> None:
        self.images = split.images
        self.seed = seed
        self.batch_size = batch_size
        self.binary = binary
        self.latent_shape = latent_shape

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Image [B, C, H, W] in [0, 1] and noise [B, Z]."""
        device = self.images.device
        rows = batch_rows(self.seed, step, len(self.images), self.batch_size).to(device)
        source = generator(self.seed, Stream.STEP, step, device)
        images = self.images[rows]
        image = binarise(images, source) if self.binary else to_unit(images)
        noise = torch.randn((self.batch_size, *self.latent_shape), generator=source, device=device)
        return image, noise
