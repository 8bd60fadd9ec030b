"""The threads that run a batcher's batches."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from serving.batching.batch import Batch


class Executor:
    """A thread that runs the batch it is given and then, as long as there are any, those it takes itself.

    It takes the next at the moment it is free, with all the rows that have come by then. A batch
    cut ahead of that moment would be smaller, and one cut by the event loop would have to wait for it.

    Args:
        run: called on the thread with each batch. Must not raise.
        take: called on the thread for the next batch; None when there is nothing to do.
        finished: called on the thread after ``take``, with the batch that was run.
    """

    def __init__(
        self,
        run: Callable[[Batch], None],
        take: Callable[[], Batch | None],
        finished: Callable[[Batch], None],
    ) -> None:
        self.batch: Batch | None = None
        """The batch it is at; None while it is idle."""
        self._run = run
        self._take = take
        self._finished = finished
        self._given: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def give(self, batch: Batch) -> None:
        """Start an idle executor."""
        self.batch = batch
        self._given.put(batch)

    def stop(self) -> None:
        """Returns when the thread has ended; it finishes what it was given."""
        self._given.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._given.get()) is not None:
            while batch is not None:
                self._run(batch)
                done, batch = batch, self._take()
                self.batch = batch
                self._finished(done)
