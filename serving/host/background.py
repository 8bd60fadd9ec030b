"""Heavy work beside the event loop: in pieces, on a few threads, the requests' turn and turn about."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_SMALL = 100_000
"""Values that are worked through in some tenths of a millisecond: a hand-over would cost about as much."""
_PIECE = 2_000_000
"""Values of a piece: some milliseconds, in which the loop gets no more than a share of Python's lock."""


class Background:
    """Threads for the mathematics, the pictures and the conversions around the graphs."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="background")

    async def pieces(
        self, rows: int, values: int, work: Callable[[slice], T], *, by_itself: int = 0, least_rows: int = 1
    ) -> list[T]:
        """``work`` on every piece of so many rows, in order; ``values`` is what one row takes of work.

        ``by_itself`` is what a piece takes besides, and ``least_rows`` then share it.

        A little is done at once, on the loop. Of more, one piece after the other waits for a thread, so that
        requests take turns, and the work ends with the piece during which the caller left or was cut off.
        """
        if self.is_little(by_itself + rows * values):
            return [work(slice(0, rows))]
        size = max(least_rows, _PIECE // max(values, 1))
        loop = asyncio.get_running_loop()
        parts = (slice(start, min(start + size, rows)) for start in range(0, rows, size))
        return [await loop.run_in_executor(self._threads, work, part) for part in parts]

    @staticmethod
    def is_little(values: int) -> bool:
        """Whether so much work is done at once."""
        return values <= _SMALL

    def shutdown(self) -> None:
        """Returns when the pieces that were begun are done."""
        self._threads.shutdown()
