"""The threads that run the batches of every graph."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Executors:
    """As many threads as there are cores to use, shared by all graphs of all models.

    A graph with work asks for a turn, and takes rows from its queue when the turn begins. A turn may last as
    long as there are rows, but for others that wait: then it ends after a batch and is asked for again.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="executor")
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for a turn."""
        return self._waiting > 0

    def ask(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` on one of the threads, after those that have asked before."""
        with self._lock:
            self._waiting += 1
        self._threads.submit(self._begin, turn)

    def shutdown(self) -> None:
        """Returns when every turn is over."""
        self._threads.shutdown()

    def _begin(self, turn: Callable[[], None]) -> None:
        with self._lock:
            self._waiting -= 1
        turn()
