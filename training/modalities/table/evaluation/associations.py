"""How strongly two columns belong together.

n is the number of rows, C of modelled columns.
"""

from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import OBSERVED, Cells, Number, Schema
from training.modalities.table.evaluation.taken import at_most

Doubles = NDArray[np.float64]
Codes = NDArray[np.int64]

INTERVALS: Final = 10
MOST_COLUMNS: Final = 100
"""Of a matrix: its pairs are taken one by one."""
MOST_ROWS: Final = 10_000


class Intervals:
    """Numbers by which of ten intervals they lie in, of equally many real rows; categories as they are."""

    def __init__(self, edges: list[Doubles | None]) -> None:
        self._edges = edges

    @classmethod
    def of(cls, schema: Schema, real: Cells) -> Self:
        found: list[Doubles | None] = []
        for place, column in enumerate(schema.modelled):
            values = real.values[real.states[:, place] == OBSERVED, place]
            inner = np.linspace(0, 1, INTERVALS + 1)[1:-1]
            is_number = isinstance(column, Number)
            cuts = np.unique(np.quantile(values, inner)) if len(values) else np.empty(0)
            found.append(cuts if is_number else None)
        return cls(found)

    def codes(self, cells: Cells) -> Codes:
        """[n, C] from 1 on; 0 where a cell is missing."""
        codes = np.zeros(cells.values.shape, np.int64)
        for place, edges in enumerate(self._edges):
            values = cells.values[:, place]
            codes[:, place] = values if edges is None else np.searchsorted(edges, values, side="left")
        codes += 1
        codes[cells.states != OBSERVED] = 0
        return codes


def association_matrix(schema: Schema, cells: Cells, intervals: Intervals) -> Doubles:
    """[k, k] of the first k = min(C, 100) columns; NaN where undefined.

    Pearson's r of two numbers, -1 to 1; Cramér's V of other pairs, 0 to 1. At most 10,000 rows are taken.
    """
    cells = at_most(cells, MOST_ROWS, seed=0)
    codes = intervals.codes(cells)
    numeric = [isinstance(column, Number) for column in schema.modelled[:MOST_COLUMNS]]
    found = np.eye(len(numeric))
    for i in range(len(numeric)):
        for j in range(i):
            if numeric[i] and numeric[j]:
                found[i, j] = found[j, i] = correlation(cells, i, j)
            else:
                found[i, j] = found[j, i] = cramers_v(codes[:, i], codes[:, j])
    return found


def correlation(cells: Cells, i: int, j: int) -> float:
    """Pearson's r over rows that have both; NaN where one of them does not vary."""
    there = (cells.states[:, [i, j]] == OBSERVED).all(axis=1)
    pair = cells.values[there][:, [i, j]]
    if len(pair) < 2 or not (np.ptp(pair, axis=0) > 0).all():
        return float("nan")
    centred = pair - pair.mean(axis=0)
    centred /= np.abs(centred).max(axis=0)  # squares of numbers as large as 1e100 are finite
    norms = np.sqrt((centred**2).sum(axis=0))
    return float(np.clip((centred[:, 0] * centred[:, 1]).sum() / norms.prod(), -1, 1))


def cramers_v(a: Codes, b: Codes) -> float:
    """Of two columns of codes [n] that are at least 0; 0 where one does not vary, NaN without rows.

    Without the part that chance alone gives tables of few rows: Bergsma 2013, "A bias-correction for Cramér's
    V and Tschuprow's T".
    """
    if not len(a):
        return float("nan")
    width = 1 + int(b.max())
    cells, counts = np.unique(a * width + b, return_counts=True)
    squared, rows, columns = _phi_squared(cells // width, cells % width, counts / len(a))
    rest = max(1, len(a) - 1)
    sides = min(side - (side - 1) ** 2 / rest for side in (rows, columns)) - 1
    by_chance = (rows - 1) * (columns - 1) / rest
    return _root(squared - by_chance, sides)


def cramers_v_of(rows: Codes, columns: Codes, shares: Doubles) -> float:
    """As it is in the data, of the cells of a table that are not empty: the row, column and share of each."""
    squared, row_count, column_count = _phi_squared(rows, columns, shares)
    return _root(squared, min(row_count, column_count) - 1)


def _phi_squared(rows: Codes, columns: Codes, shares: Doubles) -> tuple[float, int, int]:
    """chi² of one row of data, and how many rows and columns the table has."""
    row_shares = np.bincount(rows, shares)[rows]
    column_shares = np.bincount(columns, shares)[columns]
    squared = float((shares**2 / (row_shares * column_shares)).sum()) - 1
    return squared, len(np.unique(rows)), len(np.unique(columns))


def _root(squared: float, sides: float) -> float:
    return float(np.clip(np.sqrt(max(squared, 0.0) / sides), 0, 1)) if sides > 0 else 0.0
