"""The threads that run the batches of every graph."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

from serving.host.abandonable import ABANDONABLE

T = TypeVar("T")

_LOOK_S = 0.1
"""Between two looks at whether there is anything to wait for."""

log = logging.getLogger(__name__)


class Executors:
    """As many threads as there are cores to use, shared by all graphs of all models.

    A graph with work asks for a turn, and takes rows from its queue when the turn begins. A turn may last as
    long as there are rows, but for others that wait: then it ends after a batch and is asked for again.

    Threads of our own on a ``SimpleQueue``: to submit to the standard library's pool takes the event loop
    several times as long, at each batch of a fast graph.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._closed = False
        self._turns: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"executor-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def are_wanted(self) -> bool:
        """Whether somebody waits for a turn."""
        return not self._turns.empty()

    def ask(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` on one of the threads, after those that have asked before. It must not raise."""
        self._turns.put(turn)

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises on one of the threads; the caller waits for it."""
        if threading.current_thread() in self._threads:
            return work()
        outcome: Future[T] = Future()

        def turn() -> None:
            thread = threading.current_thread()
            name, thread.name = thread.name, ABANDONABLE
            try:
                outcome.set_result(work())
            except BaseException as exc:
                outcome.set_exception(exc)
            finally:
                thread.name = name

        self.ask(turn)
        while not outcome.done() and not self._closed:
            with suppress(TimeoutError):
                return outcome.result(_LOOK_S)
        if not outcome.done():
            raise RuntimeError("the executors are shut down")
        return outcome.result()

    def shutdown(self) -> None:
        """Returns when every turn is over, but for calls: what is loaded may never end."""
        self._closed = True
        for _ in self._threads:
            self._turns.put(None)
        for thread in self._threads:
            while thread.is_alive() and thread.name != ABANDONABLE:
                thread.join(_LOOK_S)

    def _work(self) -> None:
        while (turn := self._turns.get()) is not None:
            try:
                turn()
            except Exception:  # it has told its graph what it could; the thread is for the others too
                log.exception("a turn failed")
