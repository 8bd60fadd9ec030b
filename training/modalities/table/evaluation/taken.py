"""Figures with how they were taken."""

from collections.abc import Mapping
from typing import NamedTuple

from numpy.random import default_rng

from serving.bundle.tables import Cells

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


def rows_for(columns: int, *, most: int, cells: int) -> int:
    """How many rows keep memory and time bounded: ``most``, or fewer of a wide table; at least 100."""
    return min(most, max(100, cells // columns))
