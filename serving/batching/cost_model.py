"""What a batch costs, and what follows from it: its size, and where it is run.

A batch costs something by itself and something a row, and not always in proportion. Its time is kept for a
few sizes, a power of two apart, with straight lines between: a batch teaches the sizes next to its
own, so that single rows say nothing of what a full batch takes. Loading a model has measured them all.
"""

import math
from bisect import bisect_left

LONGEST_BATCH_S = 0.01
"""Batches are kept shorter than this, so that a single row behind them does not wait long."""
_FEWEST_ROWS = 8
"""A batch may always have this many rows, however slow the graph."""
_WORTH_SPLITTING_S = 0.001
"""From here on rows are divided among idle executors; below, the hand-over costs more than it saves."""
_CHEAP_REQUEST_S = 0.00036
"""The event loop needs a core of its own for requests whose rows take less: with an executor on every core
it serves fewer. Three times what a request of one row costs the loop, gRPC's part in it included."""
_HAND_OVER_S = 0.00025
"""What handing a batch to another thread and back costs; a shorter batch is run on the event loop. Nothing
joins the queue while it runs there, so rows that take less had better wait for others in the first place."""
_GATHERED_ROWS = 64
"""Waiting for more lengthens the batch and saves next to nothing a row."""
_SMOOTHING = 0.1
"""Weight of the newest batch in what is typical."""
_OUTLIER = 10.0
"""A batch that took so many times what is typical counts as no more than that: a stall is no pace."""
_FORGETTING = 0.01
"""By how much the quickest may rise with each batch, if the graph has become slower."""
_AGEING = 0.9
"""What a refusal leaves of the typical cost: nothing else would ever correct it."""


class _Curve:
    """Seconds of a batch by its rows."""

    def __init__(self) -> None:
        self._sizes: list[int] = []
        self._seconds: list[float] = []
        self._powers: set[int] = set()
        """Powers of two that one of the sizes stands for."""

    def knows(self, rows: int) -> bool:
        """Whether a batch of about that size was seen."""
        return (rows - 1).bit_length() in self._powers

    def add(self, rows: int, seconds: float) -> None:
        """The first batch of about its size."""
        place = bisect_left(self._sizes, rows)
        self._powers.add((rows - 1).bit_length())
        self._sizes.insert(place, rows)
        self._seconds.insert(place, seconds)

    def seconds(self, rows: int) -> float:
        """In proportion beyond the sizes that are known; 0 if none is."""
        if not self._sizes:
            return 0.0
        low, high, share = self._place(rows)
        if low == high:
            return self._seconds[low] * rows / self._sizes[low]
        return self._seconds[low] + (self._seconds[high] - self._seconds[low]) * share

    def at_least(self, rows: int) -> float:
        """The same, but no guess at sizes beyond those that are known: a smaller batch takes no longer."""
        return self.seconds(min(rows, self._sizes[-1])) if self._sizes else 0.0

    def shift(self, rows: int, seconds: float) -> None:
        """Move the curve by so many seconds at so many rows; of the two sizes there the nearer moves more."""
        low, high, share = self._place(rows)
        if low == high:
            self._move(low, seconds * self._sizes[low] / rows)
        else:
            step = seconds / (share * share + (1.0 - share) * (1.0 - share))
            self._move(low, step * (1.0 - share))
            self._move(high, step * share)

    def scale(self, factor: float) -> None:
        self._seconds = [seconds * factor for seconds in self._seconds]

    def _move(self, place: int, seconds: float) -> None:
        self._seconds[place] = max(self._seconds[place] + seconds, 0.0)

    def _place(self, rows: int) -> tuple[int, int, float]:
        """Indices of the sizes that so many rows lie between, and how far on the way, 0 to 1."""
        high = bisect_left(self._sizes, rows)
        if high == len(self._sizes):
            return high - 1, high - 1, 0.0
        if high == 0 or self._sizes[high] == rows:
            return high, high, 0.0
        before, after = self._sizes[high - 1], self._sizes[high]
        return high - 1, high, (rows - before) / (after - before)


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
        self.rows_to_gather = 0
        """So few rows should wait for a request that is about to come; 0 of a graph that is not that fast."""

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from a batch of so many rows, at most ``max_batch_rows``."""
        self._is_known = True
        typical, quickest = self._typical.seconds(rows), self._quickest.seconds(rows)
        if self._typical.knows(rows):
            self._typical.shift(rows, (min(seconds, typical * _OUTLIER) - typical) * _SMOOTHING)
            self._quickest.shift(rows, min(seconds, quickest * (1.0 + _FORGETTING)) - quickest)
        else:  # until now it was guessed from batches of other sizes
            self._typical.add(rows, seconds)
            self._quickest.add(rows, min(seconds, quickest or seconds))
        self.rows_to_gather = _GATHERED_ROWS if self.is_short(1) else 0

    def seconds(self, rows: int) -> float:
        """Expected at least for so many rows on one executor, in batches as they need; 0 if unknown."""
        batches, rest = divmod(rows, self._max_batch_rows)
        whole = batches * self._typical.at_least(self._max_batch_rows)
        return whole + (self._typical.at_least(rest) if rest else 0.0)

    def age(self) -> None:
        """A request was refused for what it would cost. Repeated refusals let one through, which tells."""
        self._typical.scale(_AGEING)

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

    def executors(self, rows: int, requests: int, at_hand: int) -> int:
        """How many should share the rows of so many requests; all, before the first batch."""
        if not self.is_worth_splitting(rows):
            return 1
        if self._is_known and self._quickest.seconds(rows) < requests * _CHEAP_REQUEST_S:
            return max(1, at_hand - 1)
        return at_hand

    def is_worth_splitting(self, rows: int) -> bool:
        """Whether so many rows are work for several executors; unknown before the first batch, so yes."""
        return not self._is_known or self._quickest.seconds(rows) >= _WORTH_SPLITTING_S

    def is_short(self, rows: int) -> bool:
        """Whether running so many rows takes less than handing them to another thread."""
        return self._is_known and self._quickest.seconds(rows) < _HAND_OVER_S
