"""From the numbers of a column to its normal scores, and to bins where there are rows enough for them."""

from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import Bins, Scale
from serving.bundle.tables.column_kinds import LARGEST
from training.modalities.table.reading.sources.raw_columns import Doubles

_OWN_VALUES: Final = 256
"""A column of so many different values at most may have a bin for each."""
_ROWS_EACH: Final = 100
"""For a bin of its own a value comes in so many rows, on average; fewer teach the frequency of none."""
_MANY_ROWS: Final = 10_000
"""Enough for bins, whatever the values."""
_QUANTILE_BINS: Final = 64
_KNOTS: Final = 256
_RANKS_SHARE: Final = 0.25
"""Of the normal score in that of a Gaussian; the rest is the distance from the mean."""
_HEAP: Final = 0.02
"""Share of the rows that a bound has at least to be a heap; and twice the rows of the value next to it."""
_NORMAL: Final = NormalDist()


def scale_and_bins(values: Doubles, *, lattice: float | None, most_bins: int) -> tuple[Scale, Bins | None]:
    """Of the told values of a column, at least one. ``lattice``: distance of neighbours, if they have one.

    There are no bins, but a Gaussian of the score, where rows are too few for a histogram. Its score is a
    quarter of the normal score and three quarters of the distance from the mean in standard deviations:
    ranks alone say little of how far an odd value lies from a few hundred others.
    """
    distinct, counts = np.unique(values, return_counts=True)
    own = len(distinct) <= _OWN_VALUES and len(values) >= _ROWS_EACH * len(distinct)
    if own or len(distinct) <= 2 or len(values) >= _MANY_ROWS:
        return _scale(values, distinct, counts), _bins(distinct, counts, lattice, most_bins)
    return _blended(values, _scale(values, distinct, counts)), None


def heaps_of(values: Doubles) -> tuple[bool, bool]:
    """Whether they heap up at their least and at their largest value."""
    _, counts = np.unique(values, return_counts=True)
    if len(counts) < 2:
        return False, False
    ends = (counts[0], counts[1]), (counts[-1], counts[-2])
    low, high = (bool(end >= max(_HEAP * len(values), 2 * beside)) for end, beside in ends)
    return low, high


def _scale(values: Doubles, distinct: Doubles, counts: NDArray[np.intp]) -> Scale:
    """Knots at the quantiles; a value that comes many times has the middle of its ranks."""
    ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
    chosen = np.arange(len(distinct))
    if len(distinct) > _KNOTS:
        normal = [_NORMAL.cdf(score) for score in np.linspace(-4, 4, _KNOTS // 2)]
        levels = np.sort(np.concatenate([np.linspace(0, 1, _KNOTS // 2), normal]))
        chosen = np.unique(np.clip(np.searchsorted(ranks, levels), 0, len(distinct) - 1))
    knots = distinct[chosen]
    apart = np.concatenate([[True], np.diff(knots) > 2 / LARGEST])
    knots, ranks = knots[apart], ranks[chosen][apart]
    scores = [_NORMAL.inv_cdf(rank) for rank in ranks.tolist()]
    return Scale(knots=tuple(knots.tolist()), scores=tuple(scores), width=_width(values))


def _blended(values: Doubles, scale: Scale) -> Scale:
    """With three quarters of each score from the distance to the mean."""
    knots = np.array(scale.knots)
    size = max(np.abs(values).max(), 1 / LARGEST)  # squares of large numbers overflow
    mean, deviation = float(np.mean(values / size) * size), float(np.std(values / size) * size)
    deviation = max(deviation, 1 / LARGEST)
    ranks, distance = _RANKS_SHARE, 1 - _RANKS_SHARE
    scores = ranks * np.array(scale.scores) + distance * (knots - mean) / deviation
    width = 1 / (ranks / scale.width + distance / deviation)
    return Scale(knots=scale.knots, scores=tuple(scores.tolist()), width=width)


def _width(values: Doubles) -> float:
    """A robust deviation: of the middle half, else of ever more of the values."""
    for share in (0.25, 0.05, 0.01, 0.001):
        low, high = np.quantile(values, [share, 1 - share])
        if high > low:
            return float(np.clip((high - low) / (2 * _NORMAL.inv_cdf(1 - share)), 1 / LARGEST, LARGEST))
    deviation = float(np.std(values / LARGEST) * LARGEST)
    return (
        float(np.clip(deviation, 1 / LARGEST, LARGEST)) if deviation > 0 else max(abs(float(values[0])), 1.0)
    )


def _bins(distinct: Doubles, counts: NDArray[np.intp], lattice: float | None, most: int) -> Bins:
    """A bin for each value where there are few; else bins of as many rows each, and frequent values alone."""
    few = len(distinct) <= min(most, _OWN_VALUES)
    starts = np.arange(len(distinct)) if few else _starts(counts, min(most, _QUANTILE_BINS))
    ends = np.append(starts[1:], len(distinct)) - 1
    least, most_values = distinct[starts], distinct[ends]
    return Bins(
        edges=tuple(_edges(least, most_values, lattice).tolist()),
        least=tuple(least.tolist()),
        most=tuple(most_values.tolist()),
    )


def _starts(counts: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Index of the first value of each bin."""
    share = counts.sum() / most
    alone = counts >= share
    mass = np.cumsum(np.where(alone, 0, counts))
    groups = np.floor(
        (mass - np.where(alone, 0, counts) / 2) / max(mass[-1] / max(most - alone.sum(), 1), 1e-9)
    )
    new = np.ones(len(counts), np.bool_)
    new[1:] = (groups[1:] != groups[:-1]) | alone[1:] | alone[:-1]
    starts = np.flatnonzero(new)
    if len(starts) <= most:
        return starts
    # values alone cut bins in two: those with the fewest rows go to the one before
    sizes = np.add.reduceat(counts, starts)
    keep = np.argsort(-sizes, kind="stable")[:most]
    return np.unique(np.append(starts[keep], 0))[:most]


def _edges(least: Doubles, most: Doubles, lattice: float | None) -> Doubles:
    """Between neighbours in the middle, or half a step beside a point of the lattice."""
    between = most[:-1] / 2 + least[1:] / 2
    if lattice is not None:
        between = (np.floor(between / lattice) + 0.5) * lattice
    between = np.where(between > most[:-1], between, least[1:])
    first, last = least[0], most[-1]
    if lattice is not None:
        first, last = first - lattice / 2, last + lattice / 2
    elif len(least) == 1 and first == last:
        spread = max(abs(first), 1.0) / 2
        first, last = first - spread, last + spread
    elif len(least) > 1 and last <= between[-1]:
        last = np.nextafter(last, np.inf)
    return np.concatenate([[first], between, [last]])
