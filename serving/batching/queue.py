"""The rows that wait for one graph."""

import threading
import time
from collections import deque

from serving.batching.batch import Batch, Entry


class Queue:
    """Entries, counted in rows, from which batches are cut.

    The event loop puts them in; it and the executors take them out, by ``cut`` alone.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.expected = 0
        """Rows that were admitted and are still being made: see ``Expected``."""
        self._entries: deque[Entry] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Entries."""
        return len(self._entries)

    def append(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)
            self.rows += entry.waiting

    def withdraw(self, entry: Entry) -> None:
        """Forget the rows of an entry that nobody awaits any more; those cut already are not affected."""
        with self._lock:
            self.rows -= entry.waiting
            entry.waiting = 0
            while self._entries and not self._entries[0].waiting:
                self._entries.popleft()

    def cut(self, limit: int) -> Batch:
        """At most ``limit`` rows from the front; empty if there are none.

        What is left of an entry goes to the back, so that small requests are not starved.
        """
        batch = Batch(cut_at=time.perf_counter())
        with self._lock:
            while self._entries and batch.rows < limit:
                entry = self._entries.popleft()
                if not entry.waiting:  # withdrawn
                    continue
                take = min(entry.waiting, limit - batch.rows)
                start = entry.count - entry.waiting
                batch.parts.append((entry, slice(start, start + take)))
                batch.rows += take
                entry.waiting -= take
                if entry.waiting:
                    self._entries.append(entry)
            self.rows -= batch.rows
        batch.is_full = batch.rows == limit
        return batch


class Expected:
    """A place in a queue for rows whose noise is being drawn, or whose images are being read.

    Without it many callers would be admitted to one free place, and refused when the work was done.
    """

    __slots__ = ("_queue", "_rows")

    def __init__(self, queue: Queue, rows: int) -> None:
        self._queue = queue
        self._rows = rows

    def __enter__(self) -> None:
        self._queue.expected += self._rows

    def __exit__(self, *_: object) -> None:
        """The rows are there, and are queued next; or they never will be."""
        self._queue.expected -= self._rows
