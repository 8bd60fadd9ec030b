"""Figures with how they were taken."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from numpy.random import default_rng

from serving.bundle.tables import Cells

MOST_ROWS: Final = 50_000
"""As SDMetrics takes them."""
FEWEST_ROWS: Final = 100
MOST_CELLS: Final = 5_000_000

Row = dict[str, float]
"""Column to figure; ``x_se`` is the standard error of ``x``."""
Table = dict[str, Row]


class Taken(NamedTuple):
    """The fields of a group of ``metrics.json``."""

    protocol: Mapping[str, str | int | float]
    tables: Mapping[str, Table]


class Samples(NamedTuple):
    """What is compared: rows of one schema."""

    train: Cells
    """Real rows that the model was trained on."""
    held_out: Cells
    """Real rows that it has not seen."""
    synthetic: Cells


def at_most(cells: Cells, rows: int, seed: int) -> Cells:
    """``rows`` of them at random, or all in their order where there are no more."""
    if len(cells) <= rows:
        return cells
    return cells.rows(default_rng(seed).permutation(len(cells))[:rows])


def rows_for(columns: int) -> int:
    """How many rows of a table keep memory and time bounded: 50,000, fewer of more than 100 columns."""
    return min(MOST_ROWS, max(FEWEST_ROWS, MOST_CELLS // columns))
