"""How fast a graph is, and what follows from it: the size of a batch and where it is run."""

import math

_SMOOTHING = 0.1
"""Weight of the newest batch in the running mean."""
LONGEST_BATCH_S = 0.01
"""Batches are kept shorter than this, so that a single row behind them does not wait long."""
_FEWEST_ROWS = 8
"""A batch may always have this many rows, however slow the graph."""
_WORTH_SPLITTING_S = 0.001
"""From here on rows are divided among idle executors; below, the hand-over costs more than it saves."""
_CHEAP_REQUEST = 3.0
"""The event loop needs a core of its own for requests whose rows take less than so many times what it takes
itself: with an executor on every core it serves fewer."""
_HAND_OVER_S = 0.00025
"""What handing a batch to another thread and back costs; a shorter batch is run on the event loop. Nothing
joins the queue while it runs there, so rows that take less had better wait for others in the first place."""
_FORGETTING = 1.01
"""By how much the quickest pace may rise with each batch, if the graph has become slower."""
_GATHERED_ROWS = 64
"""Waiting for more lengthens the batch and saves next to nothing a row."""


class Pace:
    """Seconds a row: their running mean, for what is promised, and the quickest of late, for what is chosen.

    The time of a batch includes waiting for Python's lock on the way back from an executor. A choice that
    went by the mean would keep a fast graph on executors because executors make it look slow.
    """

    def __init__(self, max_batch_rows: int) -> None:
        self._max_batch_rows = max_batch_rows
        self._seconds_per_row = 0.0
        self._quickest = 0.0
        self.rows_to_gather = 0
        """So few rows should wait for a request that is about to come; 0 of a graph that is not that fast."""

    def observe(self, rows: int, seconds: float) -> None:
        newest = seconds / rows
        weight = _SMOOTHING if self._seconds_per_row else 1.0
        self._seconds_per_row += (newest - self._seconds_per_row) * weight
        self._quickest = min(newest, self._quickest * _FORGETTING or newest)
        self.rows_to_gather = _GATHERED_ROWS if self.is_short(1) else 0

    def seconds(self, rows: int) -> float:
        """Expected for so many rows on one executor; 0 before the first batch."""
        return rows * self._seconds_per_row

    def batch_rows(self, waiting: int, idle_executors: int) -> int:
        """The largest next batch, when so many rows wait and so many executors do."""
        rows = self._max_batch_rows
        if not self._seconds_per_row:
            return rows
        rows = min(rows, max(_FEWEST_ROWS, int(LONGEST_BATCH_S / self._seconds_per_row)))
        if idle_executors > 1 and self.is_worth_splitting(waiting):
            rows = min(rows, math.ceil(waiting / idle_executors))
        return rows

    def executors(self, rows: int, loop_s: float, at_hand: int) -> int:
        """How many should share rows for which the event loop takes so long; all, before the first batch."""
        if not self.is_worth_splitting(rows):
            return 1
        if 0.0 < rows * self._quickest < loop_s * _CHEAP_REQUEST:
            return max(1, at_hand - 1)
        return at_hand

    def is_worth_splitting(self, rows: int) -> bool:
        """Whether so many rows are work for several executors; unknown before the first batch, so yes."""
        return not 0.0 < rows * self._quickest < _WORTH_SPLITTING_S

    def is_short(self, rows: int) -> bool:
        """Whether running so many rows takes less than handing them to another thread."""
        return 0.0 < rows * self._quickest < _HAND_OVER_S
