"""What the server must know of a kind of data: the tensors that its graphs take and give.

Outside of ``serving.modalities`` nobody asks what kind of data a model is of.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class RowTensor:
    """A tensor of float32 rows, by its name in manifests, golden files and Open Inference Protocol."""

    name: str
    shape: Shape
    """Of a row."""


@dataclass(frozen=True)
class ByteForm:
    """How a decoder on a GPU may give bytes: see ``serving.runtime.pixels``."""

    value_range: tuple[float, float]
    """That is mapped onto 0 to 255."""
    gives: tuple[Shape, ...]
    """Shape of a row of the bytes, and of what tells whether they were finite."""


class Modality(Protocol):
    """One kind of data, as a bundle has it."""

    @property
    def name(self) -> str:
        """As the manifest has it."""

    @property
    def takes(self) -> RowTensor:
        """What the encoder and the score graph take."""

    @property
    def gives(self) -> RowTensor:
        """What the decoder gives: all that p(x|z) is told by."""

    @property
    def byte_form(self) -> ByteForm | None:
        """Of what the decoder gives; None where no caller wants bytes."""

    @property
    def row_bytes(self) -> int:
        """What a row takes in a message at most, in whatever form."""

    @property
    def most_bytes(self) -> int | None:
        """What all rows of a message may take, where that is less than any message; else None."""

    @property
    def cells(self) -> int:
        """In how many parts a row may come, each an object to parse; 0 if it comes as one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What the score graph tells the distortion of, one by one; none if it tells the sum alone."""

    @property
    def values(self) -> int:
        """How many values of a row a score sums over: the scale of its rounding errors."""

    def examples(self, rng: np.random.Generator, rows: int) -> Rows:
        """Rows of all values they may have, to try a graph with: [rows, *takes.shape]."""
