"""Dynamic batching: the rows of many requests through one graph together.

The reply future travels inside the queue entry. A batch is cut the moment an executor can take it, so
nothing waits on a timer unless ``linger_s`` asks for it: the event loop gives rows to an idle executor, and
an executor that has finished takes what waits by then. Sizes are counted in rows. An entry larger than a
batch is served in parts; after each part its remainder goes to the back of the queue, so that small
requests are not starved.

Of a graph so fast that handing its rows over costs more than running them, one batch at a time is under
way, on the loop itself if it is shorter than the hand-over; and while requests come densely, the loop
takes in what has arrived before it cuts.
"""

import asyncio
import logging
import time
from operator import attrgetter

from serving.batching import portions
from serving.batching.batch import Batch, Entry, Outputs, Rows, Run, answer, check_rows
from serving.batching.cost_model import Pace
from serving.batching.executors import Executor
from serving.batching.gathering import Arrivals
from serving.batching.loop_cost import LoopCost
from serving.batching.queue import Waiting
from serving.errors import DeadlineUnreachable, ExecutionFailed, Overloaded, ShuttingDown
from serving.metrics.registry import GraphMetrics

log = logging.getLogger(__name__)

_at_work = attrgetter("batch")


class Batcher:
    """One queue in front of one graph.

    Belongs to the event loop it was started on. Executor threads only run batches, and take the next.

    Args:
        run: the graph. May be called from ``executors`` threads at once.
        max_batch_rows: largest number of rows given to ``run`` at once.
        max_queue_rows: rows that may wait; more are refused with ``Overloaded``.
        rows_at_once: what ``run`` is quickest with, see ``serving.batching.portions``.
        executors: threads that call ``run``.
        linger_s: how long an idle executor waits for more rows before it takes less than a batch.
    """

    def __init__(
        self,
        run: Run,
        *,
        max_batch_rows: int,
        max_queue_rows: int,
        rows_at_once: int,
        executors: int,
        metrics: GraphMetrics,
        linger_s: float = 0.0,
    ) -> None:
        self._run = run
        self._max_batch_rows = max_batch_rows
        self._max_queue_rows = max_queue_rows
        self._rows_at_once = rows_at_once
        self._metrics = metrics
        self._linger_s = linger_s
        self._waiting = Waiting()
        self._arrivals = Arrivals()
        self._loop_cost = LoopCost()
        self._pace = Pace(max_batch_rows)
        self._closing = False
        self._dispatch_is_due = False
        self._done = asyncio.Event()
        """Set once it is closing and everything is answered."""
        self._linger: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._executors = [Executor(self._execute_parts, self._take, self._tell) for _ in range(executors)]

    async def submit(self, rows: Rows, *, timeout_s: float | None = None, continues: bool = False) -> Outputs:
        """The graph's outputs for ``rows``, in their order.

        ``timeout_s`` is what is left of the caller's deadline. ``continues`` says that the rows belong to a
        request that was admitted with its first rows; a full queue does not refuse them.

        Raises:
            ShuttingDown, Overloaded, DeadlineUnreachable: refused, nothing was queued.
            ExecutionFailed: the graph failed on the batch these rows were in.
        """
        self._admit(len(rows), timeout_s, continues=continues)
        now = time.perf_counter()
        self._arrivals.came(now)
        self._loop_cost.came()
        if not self._waiting.rows and self._is_alone(len(rows)):
            return self._run_alone(rows)
        entry = Entry(rows, self._loop.create_future(), now, len(rows))
        self._waiting.append(entry)
        if not self._dispatch_is_due:
            self._dispatch_is_due = True
            looks_out = self._are_more_to_come() and not self._is_busy()
            self._loop.call_soon(self._look_out if looks_out else self._dispatch)
        try:
            return await entry.reply
        finally:
            if entry.waiting:  # cancelled: the rows no longer count
                self._waiting.withdraw(entry)
                self._metrics.queue_rows.set(self._waiting.rows)

    async def aclose(self) -> None:
        """Answer everything that was accepted, then stop the executors."""
        self._closing = True
        self._dispatch()
        await self._done.wait()
        for executor in self._executors:
            await asyncio.to_thread(executor.stop)

    def _admit(self, rows: int, timeout_s: float | None, *, continues: bool) -> None:
        if self._closing:
            raise ShuttingDown("this server is shutting down")
        waiting = self._waiting.rows
        # A request larger than the whole queue is taken when nothing else waits.
        if not continues and waiting and waiting + rows > self._max_queue_rows:
            self._metrics.rejected("queue_full")
            raise Overloaded(
                f"{waiting} rows are waiting, {rows} more would exceed the queue's {self._max_queue_rows}",
                retry_after_s=max(self._pace.seconds(waiting) / len(self._executors), 0.01),
            )
        self.check_deadline(rows, timeout_s)

    def check_deadline(self, rows: int, timeout_s: float | None) -> None:
        """Raises DeadlineUnreachable if so many rows more cannot be answered in time."""
        if timeout_s is None or not rows:
            return
        needed_s = self._pace.seconds(self._waiting.rows + rows) / len(self._executors)
        if needed_s > timeout_s:
            self._metrics.rejected("deadline")
            raise DeadlineUnreachable(
                f"the deadline is in {max(timeout_s, 0.0):.3f} s, the rows waiting and asked for take "
                f"about {needed_s:.3f} s"
            )

    def _is_alone(self, rows: int) -> bool:
        """With an empty queue: whether nothing runs or is about to come, and the rows are short work."""
        return (
            not self._linger_s
            and self._pace.is_short(rows)
            and rows <= self._max_batch_rows
            and not self._are_more_to_come()
            and not self._is_busy()
        )

    def _run_alone(self, rows: Rows) -> Outputs:
        """Without the queue: a turn of the loop would cost about as much as the graph."""
        batch = Batch(time.perf_counter(), rows=len(rows))
        self._execute(batch, rows)
        self._metrics.queue_duration.observe(0.0)
        return self._account(batch)

    def _are_more_to_come(self) -> bool:
        """Whether requests are likely to come at once that should share a batch with those that wait."""
        return self._waiting.rows < self._pace.rows_to_gather and self._arrivals.more_to_come

    def _look_out(self) -> None:
        """Put the dispatch off for a turn of the loop while requests come in."""
        if not self._dispatch_is_due:  # an executor that finished was quicker
            return
        if self._waiting.rows >= self._pace.rows_to_gather or self._arrivals.quiet():
            self._arrivals.found(len(self._waiting))
            self._dispatch()
        else:
            self._loop.call_soon(self._look_out)

    def _dispatch(self) -> None:
        """Give what waits to idle executors, or run it here if that takes less than handing it over."""
        self._dispatch_is_due = False
        while self._waiting.rows and not self._should_linger():
            if not self._is_busy() and self._pace.is_short(self._waiting.rows):
                self._run_here()
                continue
            more = self._executors_to_add()
            if more <= 0:
                break
            batch = self._cut(more)
            if not batch.rows:  # an executor was quicker
                break
            next(executor for executor in self._executors if not executor.batch).give(batch)
        self._metrics.queue_rows.set(self._waiting.rows)
        if self._closing and not self._waiting.rows and not self._is_busy():
            self._done.set()

    def _executors_to_add(self) -> int:
        """How many more should be at work on what waits; below 0 if some too many are."""
        under_way = [batch for executor in self._executors if (batch := executor.batch)]
        rows = self._waiting.rows + sum(batch.rows for batch in under_way)
        requests = len(self._waiting) + sum(len(batch.parts) for batch in under_way)
        loop_s = requests * self._loop_cost.seconds
        return self._pace.executors(rows, loop_s, len(self._executors)) - len(under_way)

    def _is_busy(self) -> bool:
        return any(map(_at_work, self._executors))

    def _should_linger(self) -> bool:
        """Whether to wait for more rows: only if asked to, with every executor idle."""
        if not self._linger_s or self._closing or self._waiting.rows >= self._max_batch_rows:
            return False
        if self._is_busy():
            return False
        left = self._waiting.since + self._linger_s - time.perf_counter()
        if left <= 0:
            return False
        if self._linger is None:
            self._linger = self._loop.call_later(left, self._linger_over)
        return True

    def _linger_over(self) -> None:
        self._linger = None
        self._dispatch()

    def _run_here(self) -> None:
        """On the event loop itself."""
        batch = self._cut(1)
        self._execute_parts(batch)
        self._answer(batch)

    def _cut(self, idle_executors: int) -> Batch:
        return self._waiting.cut(self._pace.batch_rows(self._waiting.rows, idle_executors))

    def _take(self) -> Batch | None:
        """On an executor that has finished: the next batch, or None to leave what waits to the loop."""
        if not self._pace.is_worth_splitting(self._waiting.rows) or self._executors_to_add() < 0:
            return None
        batch = self._cut(1)
        return batch if batch.rows else None

    def _execute_parts(self, batch: Batch) -> None:
        self._execute(batch, batch.assemble())

    def _execute(self, batch: Batch, rows: Rows) -> None:
        start = time.perf_counter()
        try:
            batch.outputs = portions.run(self._run, rows, self._rows_at_once, requests=len(batch.parts))
            check_rows(batch.outputs, batch.rows)
        except Exception as exc:  # whatever it was, the callers must hear of it
            batch.outputs = exc
        batch.seconds = time.perf_counter() - start

    def _tell(self, batch: Batch) -> None:
        """On an executor that has finished."""
        self._loop.call_soon_threadsafe(self._finish, batch)

    def _finish(self, batch: Batch) -> None:
        """Back on the event loop: start the next batch first, then answer this one."""
        self._dispatch()
        self._answer(batch)

    def _answer(self, batch: Batch) -> None:
        for entry, part in batch.parts:
            if not part.start:
                self._metrics.queue_duration.observe(batch.cut_at - entry.queued_at)
        try:
            outputs = self._account(batch)
        except ExecutionFailed as failure:
            for entry, _ in batch.parts:
                if not entry.reply.done():
                    entry.reply.set_exception(failure)
            return
        start = 0
        for entry, part in batch.parts:
            stop = start + part.stop - part.start
            answer(entry, part, tuple([output[start:stop] for output in outputs]))
            start = stop

    def _account(self, batch: Batch) -> Outputs:
        """The outputs of a batch, once it is counted. Raises ExecutionFailed, in words for the caller."""
        self._metrics.cut("full" if batch.is_full else "executor_free")
        if isinstance(batch.outputs, Exception):
            log.error("a batch of %d rows failed", batch.rows, exc_info=batch.outputs)
            raise ExecutionFailed("the model could not be run")
        self._metrics.batch(batch.rows, batch.seconds)
        self._pace.observe(batch.rows, batch.seconds)
        return batch.outputs
