"""The model and the images that a group of figures is about."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from training.data import Dataset, Split
from training.modalities.image.randomised.binarisation import binarise
from training.models import VAE
from training.pools import Posterior, posterior

MAX_IMAGES = 10_000
"""Held-out images, and samples, that a figure is taken from."""


class Use(IntEnum):
    """What random numbers are for. No two uses share a sequence: noise whose pixels are then drawn by the
    numbers it was made of would come out black."""

    IMAGES = 0
    PIXELS = 1
    NOISE = 2
    PRIOR = 3
    POOLS = 4
    POSTERIOR = 5
    LABELS = 6
    CLUSTERS = 7
    SUBSETS = 8
    DENSITY = 9
    SCORES = 10


@dataclass(frozen=True)
class EvaluatedModel:
    """What is measured; what several groups need is computed once, when it is first asked for."""

    model: VAE
    """In evaluation mode on the CPU."""
    dataset: Dataset
    split: Literal["val", "test"]
    binary: bool
    """Whether the model's images are binarised."""
    step: int
    """Optimiser steps of the model."""
    seed: int
    """Of every draw and every random choice of images."""
    limit: int = MAX_IMAGES

    @cached_property
    def held_out(self) -> Split:
        """The images that the model is judged by, as they are: at most ``limit``, at random."""
        return self.subset(getattr(self.dataset, self.split), self.limit)

    def as_seen(self, images: Tensor) -> Tensor:
        """Images [N, C, H, W] for the likelihood: pixels drawn once from Bernoulli(pixel), or unchanged."""
        if not self.binary:
            return images
        return binarise(images, self.generator(Use.PIXELS))

    @cached_property
    def train_latents(self) -> Posterior:
        """q(z|x) of the training images as they are, not binarised: so does a server see them."""
        return self.latents(self.dataset.train.images)

    @cached_property
    def held_out_latents(self) -> Posterior:
        """q(z|x) of ``held_out`` as they are."""
        return self.latents(self.held_out.images)

    def latents(self, images: Tensor) -> Posterior:
        """q(z|x) of images [N, C, H, W], with flat latents."""
        return posterior(self.model.encoder, images)[1]

    def subset(self, split: Split, limit: int) -> Split:
        """At most ``limit`` images at random, in their order: the first of MNIST are easier than the rest."""
        if limit >= len(split):
            return split
        rows = torch.randperm(len(split), generator=self.generator(Use.IMAGES))[:limit].sort().values
        return Split(split.images[rows], None if split.labels is None else split.labels[rows])

    def generator(self, use: Use) -> torch.Generator:
        """A fresh one; the same use gives the same numbers."""
        return torch.Generator().manual_seed(self.seed_for(use))

    def seed_for(self, use: Use) -> int:
        """Of 32 bits, for the generators of NumPy and scikit-learn."""
        return int(np.random.SeedSequence((self.seed, use)).generate_state(1)[0])

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What every group says of how it was taken."""
        return {
            "step": self.step,
            "seed": self.seed,
            "split": self.split,
            "images": len(self.held_out),
            "weights": "ema",
        }
