"""What a batch costs, and what follows from it: its size, and where it is run.

A batch costs something by itself and something a row, and not always in proportion. Its time is kept for a
few sizes, a power of two apart, with straight lines between: a batch teaches the sizes next to its
own, so that single rows say nothing of what a full batch takes. Loading a model has measured them all.
"""

import math
from bisect import bisect_left

LONGEST_BATCH_S = 0.01
"""Batches are kept shorter than this, so that a single row behind them does not wait long. With 20 ms
`conv_64x8` makes as many requests, and single rows beside it wait twice as long."""
_FEWEST_ROWS = 8
"""A batch may always have this many rows, however slow the graph: a limit, not a gain that was measured."""
_WORTH_SPLITTING_S = 0.001
"""From here on rows are divided among idle executors; below, the hand-over costs more than it saves: four
times what one costs. On two cores no workload shows a difference without it."""
_CHEAP_REQUEST = 3.0
"""The event loop needs a core of its own for requests whose rows take less than so many times what it takes
itself: with an executor on every core it serves fewer. Without it `conv_1x64` fell from 1,834 to 1,596."""
_HAND_OVER_S = 0.00025
"""What handing a batch to another thread and back costs; a shorter batch is run on the event loop. Nothing
joins the queue while it runs there, so rows that take less had better wait for others in the first place.
Without it `mlp_1x1` fell from 1,464 to 1,050 requests a second."""
_GATHERED_ROWS = 64
"""Waiting for more lengthens the batch and saves next to nothing a row. Without gathering `mlp_1x64` made
7,500 requests a second instead of 16,600 on a quiet host."""
_SMOOTHING = 0.1
"""Weight of the newest batch in what is typical."""
_OUTLIER = 10.0
"""A batch that took so many times what is typical counts as no more than that: a stall is no pace."""
_FORGETTING = 0.01
"""By how much the quickest may rise with each batch, if the graph has become slower."""
_DOUBTING = 0.9
"""What a refusal leaves of what is promised, until a batch has run."""


class _Curve:
    """Seconds of a batch by its rows. One thread changes it, and any may read it meanwhile."""

    def __init__(self) -> None:
        self._points: dict[int, float] = {}
        """Rows to seconds, ascending, at most one for each power of two. A new one makes a new dictionary."""

    def knows(self, rows: int) -> bool:
        """Whether a batch of about that size was seen."""
        return rows in self._points or _power(rows) in map(_power, self._points)

    def add(self, rows: int, seconds: float) -> None:
        """The first batch of about its size."""
        self._points = dict(sorted({**self._points, rows: seconds}.items()))

    def seconds(self, rows: int) -> float:
        """In proportion beyond the sizes that are known; 0 if none is."""
        points = self._points
        known = points.get(rows)
        if known is not None:
            return known
        if not points:
            return 0.0
        low, high, share = _between(points, rows)
        if low == high:
            return points[low] * rows / low
        return points[low] + (points[high] - points[low]) * share

    def at_least(self, rows: int) -> float:
        """The same, but no guess at sizes beyond those that are known: a smaller batch takes no longer."""
        return self.seconds(min(rows, max(self._points))) if self._points else 0.0

    def shift(self, rows: int, seconds: float) -> None:
        """Move the curve by so many seconds at so many rows; of the two sizes there the nearer moves more."""
        if rows in self._points:
            self._move(rows, seconds)
            return
        low, high, share = _between(self._points, rows)
        if low == high:
            self._move(low, seconds * low / rows)
            return
        step = seconds / (share * share + (1.0 - share) * (1.0 - share))
        self._move(low, step * (1.0 - share))
        self._move(high, step * share)

    def _move(self, size: int, seconds: float) -> None:
        self._points[size] = max(self._points[size] + seconds, 0.0)


def _power(rows: int) -> int:
    """The power of two that so many rows are taken for."""
    return (rows - 1).bit_length()


def _between(points: dict[int, float], rows: int) -> tuple[int, int, float]:
    """The sizes that so many rows lie between, and how far on the way, 0 to 1; at either end one twice."""
    sizes = list(points)
    place = bisect_left(sizes, rows)
    if place in (0, len(sizes)):
        end = sizes[0] if place == 0 else sizes[-1]
        return end, end, 0.0
    low, high = sizes[place - 1], sizes[place]
    return low, high, (rows - low) / (high - low)


class CostModel:
    """The typical cost, for what is promised, and the quickest of late, for what is chosen.

    The time of a batch includes waiting for Python's lock on the way back from an executor. A choice that
    went by the typical would keep a fast graph on executors because executors make it look slow.
    """

    def __init__(self, max_batch_rows: int) -> None:
        self._max_batch_rows = max_batch_rows
        self._typical = _Curve()
        self._quickest = _Curve()
        self._is_known = False
        self._doubt = 1.0
        self.rows_to_gather = 0
        """So few rows should wait for a request that is about to come; 0 of a graph that is not that fast."""

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a batch of so many rows, at most ``max_batch_rows``."""
        self._is_known = True
        weight, self._doubt = max(_SMOOTHING, 1.0 - self._doubt), 1.0
        typical, quickest = self._typical.seconds(rows), self._quickest.seconds(rows)
        if self._typical.knows(rows):
            self._typical.shift(rows, (min(seconds, typical * _OUTLIER) - typical) * weight)
            self._quickest.shift(rows, min(seconds, quickest * (1.0 + _FORGETTING)) - quickest)
        else:  # until now it was guessed from batches of other sizes
            self._typical.add(rows, seconds)
            self._quickest.add(rows, min(seconds, quickest or seconds))
        self.rows_to_gather = _GATHERED_ROWS if self.is_short(1) else 0

    def seconds(self, rows: int) -> float:
        """Expected at least for so many rows on one executor, in batches as they are cut; 0 if unknown."""
        size = self.batch_rows(rows, 1)
        batches, rest = divmod(rows, size)
        return batches * self._typical.at_least(size) + (self._typical.at_least(rest) if rest else 0.0)

    def promised_s(self, rows: int) -> float:
        """The same, less what refusals have taken off: it is what a deadline is held against."""
        return self.seconds(rows) * self._doubt

    def refused(self) -> None:
        """A request was refused for what it would cost.

        Nothing else would ever correct a cost that keeps every request out: many refusals let one through,
        and the more there were, the more its batch counts.
        """
        self._doubt *= _DOUBTING

    def batch_rows(self, waiting: int, idle_executors: int) -> int:
        """The largest next batch, when so many rows wait and so many executors do."""
        rows = self._max_batch_rows
        a_row = self._typical.seconds(rows) / rows
        if not a_row:
            return rows
        rows = min(rows, max(_FEWEST_ROWS, int(LONGEST_BATCH_S / a_row)))
        if idle_executors > 1 and self.is_worth_splitting(waiting):
            rows = min(rows, math.ceil(waiting / idle_executors))
        return rows

    def executors(self, rows: int, loop_s: float, at_hand: int) -> int:
        """How many should share rows for which the event loop takes so long; all, before the first batch."""
        if not self.is_worth_splitting(rows):
            return 1
        if self._is_known and self._quickest.seconds(rows) < loop_s * _CHEAP_REQUEST:
            return max(1, at_hand - 1)
        return at_hand

    def is_worth_splitting(self, rows: int) -> bool:
        """Whether so many rows are work for several executors; unknown before the first batch, so yes."""
        return not self._is_known or self._quickest.seconds(rows) >= _WORTH_SPLITTING_S

    def is_short(self, rows: int) -> bool:
        """Whether running so many rows takes less than handing them to another thread."""
        return self._is_known and self._quickest.seconds(rows) < _HAND_OVER_S
