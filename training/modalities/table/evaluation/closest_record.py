"""Distance to the closest record (DCR): are synthetic rows copies of rows that the model was trained on?

A synthetic row should be no nearer to a training row than to a held-out row. n is the number of rows, C of
modelled columns.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import OBSERVED, Cells, Number, Schema
from training.modalities.table.evaluation.taken import Row, Samples, Taken, at_most

MOST_ROWS: Final = 10_000
MOST_DIFFERENCES: Final = 1_500_000_000
"""Of single cells: a wide table is compared by fewer rows."""
BLOCK: Final = 1 << 18
"""Distances at once: they stay in a core's cache."""
FARTHEST: Final = 1e6
"""Of a number beyond the range, in ranges."""

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]


class Ranges(NamedTuple):
    """[C] each: what a value becomes is (value - low) / width."""

    low: Doubles
    width: Doubles


def closest(schema: Schema, samples: Samples, *, seed: int = 0) -> Taken:
    """Synthetic rows, and real ones that the model has not seen, beside training and held-out rows.

    ``nearer_to_training`` is the share of rows whose closest record is a training row and not one of equally
    many held-out rows, ties counted as half: 0.5 is right, 1 is a model that learned by heart. ``copies`` is
    the share of rows that are among all training rows to the last cell; real rows have such, too, where a
    table has few columns.
    """
    half = len(samples.held_out) // 2
    shuffled = samples.held_out.rows(np.random.default_rng(seed).permutation(len(samples.held_out)))
    fresh, reference = shuffled.rows(slice(half)), shuffled.rows(slice(half, None))
    table = {
        "synthetic": _compared(schema, samples.synthetic, samples.train, samples.held_out, seed),
        "real held-out": _compared(schema, fresh, samples.train, reference, seed),
    }
    protocol: dict[str, str | int | float] = {
        "distance": "mean over columns: categories 0 or 1, numbers by the range of training rows (Gower)",
        "against": "equally many training and held-out rows",
        "seed": seed,
    }
    return Taken(protocol, {"closest record": table})


def _compared(schema: Schema, rows: Cells, train: Cells, held_out: Cells, seed: int) -> Row:
    figures = {"copies": float(_contained(rows, train).mean())} if len(rows) else {}
    most = rows_at_most(len(schema.modelled))
    count = min(most, len(train), len(held_out))
    rows = at_most(rows, most, seed)
    if not count or not len(rows):
        return figures
    ranges = ranges_of(schema, train)
    references = [at_most(cells, count, seed + 1) for cells in (train, held_out)]
    to_train, to_held_out = (distances(schema, rows, cells, ranges) for cells in references)
    nearer = (to_train < to_held_out) + 0.5 * (to_train == to_held_out)
    return figures | {
        "nearer_to_training": float(nearer.mean()),
        "nearer_to_training_se": float(nearer.std() / np.sqrt(len(rows))),
        "distance_to_training": float(np.median(to_train)),
        "distance_to_held_out": float(np.median(to_held_out)),
        "rows": float(len(rows)),
        "records": float(count),
    }


def rows_at_most(columns: int) -> int:
    """Of each side, of a table of so many columns."""
    return max(100, min(MOST_ROWS, int((MOST_DIFFERENCES / columns) ** 0.5)))


def distances(schema: Schema, rows: Cells, records: Cells, ranges: Ranges) -> Singles:
    """[n] from each row to the closest record, 0 to 1 unless a number is out of range.

    A missing cell is as far from one that is not as two categories are.

    Args:
        ranges: of the training rows.
    """
    numeric = np.array([isinstance(column, Number) for column in schema.modelled])
    ours, theirs = (_scaled(cells, ranges) for cells in (rows, records))
    told = [(cells.states == OBSERVED) for cells in (rows, records)]
    at_once = max(1, BLOCK // len(records))
    found = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), at_once):
        part = slice(first, first + at_once)
        total = np.zeros((len(ours[part]), len(records)), np.float32)
        for place in range(len(numeric)):
            apart = ours[part, place, None] - theirs[None, :, place]
            here, there = told[0][part, place], told[1][:, place]
            if not numeric[place]:
                apart = (apart != 0).astype(np.float32)
            if not (here.all() and there.all()):
                apart[here[:, None] != there[None]] = 1.0
            total += np.abs(apart, out=apart)
        found[part] = total.min(axis=1)
    return found / np.float32(len(numeric))


def ranges_of(schema: Schema, cells: Cells) -> Ranges:
    """From the least to the largest number of each column; categories stay as they are."""
    low, width = np.zeros(len(schema.modelled)), np.ones(len(schema.modelled))
    for place, column in enumerate(schema.modelled):
        values = cells.values[cells.states[:, place] == OBSERVED, place]
        if isinstance(column, Number) and len(values):
            low[place], width[place] = values.min(), np.ptp(values) or 1.0
    return Ranges(low, width)


def _scaled(cells: Cells, ranges: Ranges) -> Singles:
    scaled = (cells.values - ranges.low) / ranges.width
    return np.ascontiguousarray(np.clip(scaled, -FARTHEST, FARTHEST), np.float32)


def _contained(rows: Cells, records: Cells) -> NDArray[np.bool_]:
    """[n] whether a row is among the records, to the last cell."""
    known = set(_keys(records))
    return np.array([key in known for key in _keys(rows)])


def _keys(cells: Cells) -> Iterator[bytes]:
    """A hash of each row."""
    for values, states in zip(cells.values, cells.states, strict=True):
        whole = (values + 0.0).tobytes() + states.tobytes()  # + 0.0: no negative zero
        yield blake2b(whole, digest_size=16).digest()
