"""The modelled cells of a table as two arrays, and what is said of a cell that cannot be taken.

n is the number of rows, C that of the modelled columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from serving.errors import plain, quoted

Doubles = NDArray[np.float64]
States = NDArray[np.int8]

OBSERVED: Final = 1
UNKNOWN: Final = 0
"""Not told: to be inferred, and no part of a score."""
MISSING: Final = -1
"""As cells are missing in the data; only in a nullable column."""


class CellError(ValueError):
    """A cell, or a column, that does not fit the schema; one line.

    ``row`` counts from 0; None where the whole column is meant. ``column`` is None where a row is no row.
    """

    def __init__(self, column: str | None, row: int | None, wanted: str, came: str) -> None:
        places = [] if column is None else [f"column {quoted(column)}"]
        places += [] if row is None else [f"row {row}"]
        super().__init__(plain(f"{', '.join(places)}: want {wanted}, came {came}"))
        self.column, self.row, self.wanted, self.came = column, row, wanted, came


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows of a table, as the model sees them."""

    values: Doubles
    """[n, C] the number, the seconds, the index of the category, 0 or 1; 0 where ``states`` is not 1."""
    states: States
    """[n, C] 1 observed, 0 unknown, -1 missing."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape != self.states.shape:
            raise ValueError(
                f"cells: want values and states [n, C], came {self.values.shape} and {self.states.shape}"
            )

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def unknown(cls, rows: int, columns: int) -> Self:
        return cls(np.zeros((rows, columns)), np.zeros((rows, columns), np.int8))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One after another."""
        values, states = ([getattr(part, name) for part in parts] for name in ("values", "states"))
        return cls(np.concatenate(values), np.concatenate(states))

    def rows(self, chosen: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        return type(self)(self.values[chosen], self.states[chosen])
