"""Data, as every other part of training sees them: rows of one shape, whatever kind of data they are."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

BINARISATION_SEED = 777
"""The seed with which the VampPrior code (Tomczak & Welling, arXiv:1705.07120) draws its test sets."""

CHUNK = 4096
"""Images looked at in one go, where all of them as floats would fill the memory."""

Spec = Any
"""What a modality builds its networks by, and nobody else looks into: of images their shape."""


@dataclass(frozen=True)
class Split:
    """Part of a data set."""

    images: Tensor
    """[N, C, H, W], uint8 in 0..255 or float32 in [0, 1]; of another modality its rows as float32 [N, *X]."""
    labels: Tensor | None
    """[N] int64, indices into the data set's label names."""
    cells: Any = None
    """The same rows as their modality has them; images have no other form."""

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A data set with its three splits. Without labels, ``label_names`` is empty."""

    name: str
    train: Split
    val: Split
    test: Split
    label_names: tuple[str, ...]
    sha256: str
    """Of the images and labels in their original order, so it does not depend on the split; and of what was
    withheld."""
    mapped: bool = False
    """The images lie on disk and are mapped into memory, read-only: larger than the memory they may be."""
    withheld: Split | None = None
    """Test images of the kinds that were left out by ``--without``; their labels mean nothing here."""
    schema: Any = None
    """Of a table."""
    notes: tuple[str, ...] = ()
    """What is told of it before a training."""

    @property
    def spec(self) -> Spec:
        return self.image_shape if self.schema is None else self.schema

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def binarised(self, split: Literal["val", "test"]) -> Split:
        """The split with every pixel drawn once from Bernoulli(pixel): uint8, 0 or 255.

        The draw is the one of the VampPrior code (validation first, then test, from one generator),
        so likelihoods compare with the literature; it is the same in every run.
        """
        return self._binary[split]

    @cached_property
    def _binary(self) -> dict[str, Split]:
        # The legacy generator and float32 probabilities are part of the protocol: they fix the bits.
        generator = np.random.RandomState(BINARISATION_SEED)
        drawn = {}
        for name, split in (("val", self.val), ("test", self.test)):
            pixels = torch.empty(split.images.shape, dtype=torch.uint8)
            for part, images in zip(pixels.split(CHUNK), split.images.split(CHUNK), strict=True):
                ones = generator.binomial(1, to_unit(images).numpy())
                part.copy_(torch.from_numpy(ones.astype(np.uint8) * np.uint8(255)))
            drawn[name] = Split(pixels, split.labels)
        return drawn


def to_unit(images: Tensor) -> Tensor:
    """What the models see: float32 in [0, 1], of the same shape."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
