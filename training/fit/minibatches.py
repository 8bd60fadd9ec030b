"""Minibatches, and everything else random in training, as pure functions of (seed, step).

No generator lives longer than a step, so a resumed run needs no generator state to repeat the
uninterrupted one, and no step can disturb another.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.data import to_unit
from training.modalities.image.randomised.binarisation import thresholds
from training.modalities.image.randomised.deformation import moved, places
from training.modalities.table.hidden_cells import hidden_cells, hide

CPU = torch.device("cpu")


class Stream(IntEnum):
    """What the numbers are for; no two uses share a sequence."""

    WEIGHTS = 0
    ORDER = 1
    STEP = 2
    VALIDATION = 3
    NETWORKS = 4
    DEFORMATION = 5
    HIDDEN = 6


def generator(
    seed: int, stream: Stream, index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A fresh generator. SeedSequence mixes its arguments well, torch's own seeding does not."""
    mixed = np.random.SeedSequence((seed, stream, index)).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]))


@contextmanager
def seeded_networks(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Networks draw from torch's global generator; within, that is a function of (seed, step) as well."""
    mixed = generator(seed, Stream.NETWORKS, step).initial_seed()
    if device.type == "cuda":  # nothing else draws from it, and setting its state back would wait for it
        torch.cuda.manual_seed(mixed)
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed)
        yield


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int, device: torch.device = CPU) -> Tensor:
    """The order in which an epoch shows its images: a permutation [count] int64, drawn on the CPU."""
    return torch.randperm(count, generator=generator(seed, Stream.ORDER, epoch)).to(device)


def batch_rows(seed: int, step: int, count: int, batch_size: int, device: torch.device = CPU) -> Tensor:
    """Rows [batch_size] of one step. An epoch leaves out what does not fill a batch, others each time."""
    epoch, position = divmod(step, count // batch_size)
    order = epoch_order(seed, epoch, count, device)
    return order[position * batch_size : (position + 1) * batch_size]


class Batch(NamedTuple):
    """What one look at the model takes."""

    image: Tensor
    """[B, C, H, W] in [0, 1]"""
    noise: Tensor
    """As ``VAE.noise_shape`` says."""


class MaskedBatch(NamedTuple):
    """The same with a second look at the rows of a table."""

    image: Tensor
    noise: Tensor
    hidden: Tensor
    """The rows with cells hidden."""


AnyBatch = Batch | MaskedBatch


@dataclass(frozen=True)
class Batches:
    """The training images of each step, with the noise of their posteriors.

    A process of a data-parallel training takes its share of them, and may take that in several
    micro-batches; all of them together are the same whatever their number.
    """

    images: Tensor
    """[N, C, H, W], in memory, on the device or memory-mapped."""
    seed: int
    batch_size: int
    """Of the step: the micro-batches of all processes together."""
    binary: bool
    """Draw every pixel anew, see ``binarise``."""
    noise_shape: tuple[int, ...]
    """Of the whole step."""
    batch_axis: int = 0
    """Of the noise."""
    device: torch.device = CPU
    """Where the numbers are drawn and the model computes."""
    share: tuple[int, int] = (0, 1)
    """Which part of how many equal ones this process takes."""
    accumulate: int = 1
    """Micro-batches that the share is cut into."""
    deformation: float = 0.0
    """How strongly images are deformed, see ``training.modalities.image.randomised.deformation``."""
    deformed_steps: int = 0
    """The first so many steps see deformed images."""
    single_steps: int = 0
    """The first so many steps take one sample of each posterior, whatever ``noise_shape`` says."""
    hides: bool = False
    """Of a table: whether a second look at the rows lacks cells, see ``table.hidden_cells``."""

    def at(self, step: int) -> Sequence[AnyBatch]:
        """The micro-batches of this process, equal in size.

        The numbers are drawn for the whole step, which costs little, and looked at in part.
        """
        part, parts = self.share
        size = self.batch_size // parts
        mine = slice(part * size, (part + 1) * size)
        source = generator(self.seed, Stream.STEP, step, self.device)
        # Rows lie beside the images: a GPU that waited for them each step would idle.
        rows = batch_rows(self.seed, step, len(self.images), self.batch_size, self.images.device)[mine]
        images = self.images[rows].to(self.device)
        if self.deformation and step < self.deformed_steps:
            drawn = generator(self.seed, Stream.DEFORMATION, step, self.device)
            whole = (self.batch_size, *images.shape[1:])
            images = moved(images, places(whole, drawn, self.deformation)[mine])
        if self.binary:
            whole = (self.batch_size, *self.images.shape[1:])
            image = (thresholds(whole, self.images.dtype, source)[mine] < images).float()
        else:
            image = to_unit(images)
        noise = torch.randn(self.noise_shape, generator=source, device=self.device)
        noise = noise.narrow(self.batch_axis, mine.start, size)
        if self.batch_axis and step < self.single_steps:
            noise = noise[:1]
        micro = size // self.accumulate
        cuts = [image.split(micro), noise.split(micro, dim=self.batch_axis)]
        if not self.hides:
            return [Batch(*cut) for cut in zip(*cuts, strict=True)]
        cuts.append(self._second_look(image, step, mine).split(micro))
        return [MaskedBatch(*cut) for cut in zip(*cuts, strict=True)]

    def _second_look(self, image: Tensor, step: int, mine: slice) -> Tensor:
        drawn = generator(self.seed, Stream.HIDDEN, step, self.device)
        return hide(image, hidden_cells((self.batch_size, image.shape[1] // 3), drawn)[mine])
