"""Dynamic batching: the rows of many requests through one graph together.

The reply future travels inside the queue entry. A batch is cut the moment an executor can take it:
every executor has one batch running, and one more is staged, so nothing waits on a timer unless
``linger_s`` asks for it. Sizes are counted in rows. An entry larger than a batch is served in parts; after
each part its remainder goes to the back of the queue, so that small requests are not starved.

Of a graph so fast that handing its rows over costs more than running them, one batch at a time is under
way, on the loop itself if it is shorter than the hand-over; and while requests come densely, the loop
takes in what has arrived before it cuts.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from serving.arrivals import Arrivals
from serving.batch import Batch, Entry, Outputs, Rows, answer, check_rows
from serving.errors import DeadlineUnreachable, ExecutionFailed, Overloaded, ShuttingDown
from serving.metrics import GraphMetrics
from serving.pace import Pace

Run = Callable[[Rows], Outputs]
"""One graph: [rows, …] → arrays with the same number of rows. Called from executor threads."""

log = logging.getLogger(__name__)


class Batcher:
    """One queue in front of one graph.

    Belongs to the event loop it was started on; only ``run`` is called from other threads.

    Args:
        run: the graph. May be called from ``executors`` threads at once.
        max_batch_rows: largest number of rows given to ``run`` at once.
        max_queue_rows: rows that may wait; more are refused with ``Overloaded``.
        executors: threads that call ``run``.
        linger_s: how long an idle executor waits for more rows before it takes less than a batch.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_batch_rows: int,
        max_queue_rows: int,
        executors: int,
        metrics: GraphMetrics,
        linger_s: float = 0.0,
    ) -> None:
        self._run = run
        self._max_batch_rows = max_batch_rows
        self._max_queue_rows = max_queue_rows
        self._executors = executors
        self._metrics = metrics
        self._linger_s = linger_s
        self._waiting: deque[Entry] = deque()
        self._queue_rows = 0
        self._in_flight = 0
        self._rows_in_flight = 0
        self._arrivals = Arrivals()
        self._pace = Pace(max_batch_rows)
        self._closing = False
        self._cut_is_due = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._linger: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._staged: SimpleQueue[Batch | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(executors)]
        for thread in self._threads:
            thread.start()

    async def submit(self, rows: Rows, *, timeout_s: float | None = None, continues: bool = False) -> Outputs:
        """The graph's outputs for ``rows``, in their order.

        ``timeout_s`` is what is left of the caller's deadline. ``continues`` says that the rows belong to a
        request that was admitted with its first rows; a full queue does not refuse them.

        Raises:
            ShuttingDown, Overloaded, DeadlineUnreachable: refused, nothing was queued.
            ExecutionFailed: the graph failed on the batch these rows were in.
        """
        self._admit(len(rows), timeout_s, continues=continues)
        entry = Entry(rows, self._loop.create_future(), time.perf_counter())
        self._waiting.append(entry)
        self._queue_rows += len(rows)
        self._idle.clear()
        self._arrivals.came(entry.queued_at)
        if not self._cut_is_due:
            self._cut_is_due = True
            self._loop.call_soon(self._gather if self._arrivals.dense else self._cut_batches)
        try:
            return await entry.reply
        finally:
            if entry.waiting:  # cancelled: the rows no longer count, the cut drops the entry
                self._queue_rows -= entry.waiting
                entry.taken = len(rows)
                self._metrics.queue_rows.set(self._queue_rows)

    async def aclose(self) -> None:
        """Answer everything that was accepted, then stop the executors."""
        self._closing = True
        self._cut_batches()
        await self._idle.wait()
        for _ in self._threads:
            self._staged.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _admit(self, rows: int, timeout_s: float | None, *, continues: bool) -> None:
        if self._closing:
            raise ShuttingDown("this server is shutting down")
        # A request larger than the whole queue is taken when nothing else waits.
        if not continues and self._queue_rows and self._queue_rows + rows > self._max_queue_rows:
            self._metrics.rejected("queue_full")
            raise Overloaded(
                f"{self._queue_rows} rows are waiting, {rows} more would exceed the queue's "
                f"{self._max_queue_rows}",
                retry_after_s=max(self._pace.seconds(self._queue_rows) / self._executors, 0.01),
            )
        self.check_deadline(rows, timeout_s)

    def check_deadline(self, rows: int, timeout_s: float | None) -> None:
        """Raises DeadlineUnreachable if so many rows more cannot be answered in time."""
        if timeout_s is None or not rows:
            return
        needed_s = self._pace.seconds(self._queue_rows + rows) / self._executors
        if needed_s > timeout_s:
            self._metrics.rejected("deadline")
            raise DeadlineUnreachable(
                f"the deadline is in {max(timeout_s, 0.0):.3f} s, the rows waiting and asked for take "
                f"about {needed_s:.3f} s"
            )

    def _gather(self) -> None:
        """Put the cut off for a turn of the loop while that costs nobody: requests are still coming in."""
        if self._in_flight or not self._pace.is_worth_gathering(self._queue_rows) or self._arrivals.quiet():
            self._cut_batches()
        else:
            self._loop.call_soon(self._gather)

    def _most_ahead(self) -> int:
        """Batches that may be under way when one more is cut: one running each and one staged, or none."""
        all_rows = self._queue_rows + self._rows_in_flight
        return self._executors if self._pace.is_worth_splitting(all_rows) else 0

    def _cut_batches(self) -> None:
        """Hand out batches while executors can take them."""
        self._cut_is_due = False
        while self._waiting and self._in_flight <= self._most_ahead():
            if self._should_linger():
                break
            limit = self._pace.batch_rows(self._queue_rows, self._executors - self._in_flight)
            batch = self._cut(limit)
            if not batch.parts:
                break
            self._metrics.cut("full" if batch.rows == limit else "executor_free")
            if not self._in_flight and self._pace.is_short(batch.rows):
                self._answer_batch(batch, self._execute(batch))
                continue
            self._in_flight += 1
            self._rows_in_flight += batch.rows
            self._staged.put(batch)
        self._metrics.queue_rows.set(self._queue_rows)
        if not self._in_flight and not self._waiting:
            self._idle.set()

    def _should_linger(self) -> bool:
        """Whether to wait for more rows: only if asked to, with every executor idle."""
        if not self._linger_s or self._in_flight or self._closing or self._queue_rows >= self._max_batch_rows:
            return False
        left = self._waiting[0].queued_at + self._linger_s - time.perf_counter()
        if left <= 0:
            return False
        if self._linger is None:
            self._linger = self._loop.call_later(left, self._linger_over)
        return True

    def _linger_over(self) -> None:
        self._linger = None
        self._cut_batches()

    def _cut(self, limit: int) -> Batch:
        """Take rows from the front until the batch is full; entries nobody awaits are dropped."""
        batch = Batch()
        now = time.perf_counter()
        for _ in range(len(self._waiting)):
            room = limit - batch.rows
            if not room:
                break
            entry = self._waiting.popleft()
            if entry.reply.done():
                continue
            take = min(entry.waiting, room)
            if not entry.taken:
                self._metrics.queue_duration.observe(now - entry.queued_at)
            batch.parts.append((entry, slice(entry.taken, entry.taken + take)))
            batch.rows += take
            entry.taken += take
            self._queue_rows -= take
            if entry.waiting:
                self._waiting.append(entry)
        return batch

    def _work(self) -> None:
        """An executor thread: run batches until told to stop."""
        while (batch := self._staged.get()) is not None:
            outputs = self._execute(batch)
            self._loop.call_soon_threadsafe(self._finish, batch, outputs)

    def _execute(self, batch: Batch) -> Outputs | Exception:
        start = time.perf_counter()
        outputs: Outputs | Exception
        try:
            outputs = self._run(batch.assemble())
            check_rows(outputs, batch.rows)
        except Exception as exc:  # whatever it was, the callers must hear of it
            outputs = exc
        batch.seconds = time.perf_counter() - start
        return outputs

    def _finish(self, batch: Batch, outputs: Outputs | Exception) -> None:
        """Back on the event loop: start the next batch first, then answer this one."""
        self._in_flight -= 1
        self._rows_in_flight -= batch.rows
        self._cut_batches()
        self._answer_batch(batch, outputs)

    def _answer_batch(self, batch: Batch, outputs: Outputs | Exception) -> None:
        if isinstance(outputs, Exception):
            log.error("a batch of %d rows failed", batch.rows, exc_info=outputs)
            for entry, _ in batch.parts:
                if not entry.reply.done():
                    entry.reply.set_exception(ExecutionFailed("the model could not be run"))
            return
        self._metrics.batch(batch.rows, batch.seconds)
        self._pace.observe(batch.rows, batch.seconds)
        start = 0
        for entry, part in batch.parts:
            stop = start + part.stop - part.start
            answer(entry, part, tuple([output[start:stop] for output in outputs]))
            start = stop
