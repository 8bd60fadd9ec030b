"""Dynamic batching: the rows of many requests through one graph together.

The reply future travels inside the queue entry. A batch is cut the moment something can run it, never on a
timer: an executor cuts it when its turn begins, and the next when it has finished, from what waits by then;
one that was cut ahead of that moment would be smaller. Sizes are counted in rows. An entry larger than a
batch is served in parts; after each part its remainder goes to the back of the queue, so that small requests
are not starved.

Of a graph so fast that handing its rows over costs more than running them, one batch at a time is under
way, on the loop itself if it is shorter than the hand-over; and while requests come densely, the loop
takes in what has arrived before it cuts.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from serving.batching.batch import Batch, Entry, Outputs, Rows, Run
from serving.batching.cost_model import CostModel
from serving.batching.executors import Executors
from serving.batching.gathering import Gathering
from serving.batching.graph_trace import GraphTrace
from serving.batching.loop_cost import LoopCost
from serving.batching.queue import Expected, Queue
from serving.errors import DeadlineUnreachable, Overloaded, ShuttingDown
from serving.metrics.registry import GraphMetrics
from serving.tracing.call_trace import current

log = logging.getLogger(__name__)

_FOR_SMALL = 8  # an eighth of the queue is left by requests larger than a batch to the others


class Batcher:
    """One queue in front of one graph.

    Belongs to the event loop it was started on. Executors only cut batches and run them.

    Args:
        run: the graph. May be called from several executors at once, and from the event loop's thread.
        inputs: the names of its inputs, in the order of the arrays that are submitted.
        max_batch_rows: largest number of rows given to ``run`` at once.
        max_queue_rows: rows that may wait; more are refused with ``Overloaded``.
        executors: threads that call ``run``, shared with other graphs.
        most_executors: that may run this graph at once.
        measured: rows and seconds of batches that ran already.
        padding: rows that the graph computes beside so many, to no purpose.
        on_loop: whether short batches may run on the event loop.
        watch: called with the outputs of each batch, on the thread that ran it, out of its callers' way.
        trace: told what became of the rows of traced calls.
    """

    def __init__(  # noqa: PLR0913  # all but two by keyword
        self,
        run: Run,
        inputs: Sequence[str],
        *,
        max_batch_rows: int,
        max_queue_rows: int,
        executors: Executors,
        most_executors: int,
        metrics: GraphMetrics,
        measured: Iterable[tuple[int, float]] = (),
        padding: Callable[[int], int] = lambda _: 0,
        on_loop: bool = True,
        watch: Callable[[Outputs], None] | None = None,
        trace: GraphTrace | None = None,
    ) -> None:
        self._graph = run
        self._inputs = inputs
        self._max_batch_rows = max_batch_rows
        self._max_queue_rows = max_queue_rows
        self._metrics = metrics
        self._padding = padding
        self._on_loop = on_loop
        self._watch, self._trace = watch, trace
        self._queue = Queue()
        self._rows_waiting = lambda: self._queue.rows
        metrics.watch_queue(self._rows_waiting)
        self._gathering, self._loop_cost = Gathering(), LoopCost()
        self._cost = CostModel(max_batch_rows)
        for rows, seconds in measured:
            self._cost.observe(rows, seconds)
        self._closing = self._dispatch_is_due = False
        self._next_look: asyncio.Handle | None = None  # of the look-out
        self._done = asyncio.Event()  # it is closing and everything is answered
        self._loop = asyncio.get_running_loop()
        self._executors = executors
        self._most_executors = most_executors
        self._turns = 0
        """Asked for, begun ones included."""
        self._under_way: set[Batch] = set()
        """Batches on executors."""

    async def submit(self, *rows: Rows, timeout_s: float | None = None, continues: bool = False) -> Outputs:
        """The graph's outputs for ``rows``, an array for each of its inputs, in their order.

        ``timeout_s`` is what is left of the caller's deadline. ``continues`` says that the rows belong to a
        request that was admitted with its first rows; a full queue does not refuse them.

        Raises:
            ShuttingDown, Overloaded, DeadlineUnreachable: refused, nothing was queued.
            ExecutionFailed, MemoryShort: the graph failed on the batch these rows were in.
        """
        count = len(rows[0])
        self._admit(count, timeout_s, continues=continues)
        now = time.perf_counter()
        self._gathering.came(now)
        self._loop_cost.came()
        entry = Entry(rows, count, self._loop.create_future(), now, count)
        if self._trace:
            entry.trace = current.get()
        is_alone = not self._queue.rows and self._is_short_work(count)
        self._queue.append(entry)
        if is_alone:  # a turn of the loop would cost about as much as the graph
            batch = self._cut(1)
            self._run(batch)
            self._finish(batch)
        if self._queue.rows and not self._dispatch_is_due:
            self._dispatch_is_due = True
            if self._are_more_to_come() and not self._turns:
                self._next_look = self._loop.call_soon(self._look_out)
            else:
                self._loop.call_soon(self._dispatch)
        try:
            return await entry.reply
        finally:
            if entry.waiting:  # cancelled: the rows no longer count
                if self._trace:
                    self._trace.left(entry)
                self._queue.withdraw(entry)

    def expect(self, rows: int, timeout_s: float | None) -> Expected:
        """Admit rows that have yet to be made, and keep their place; ``submit`` them as what continues.

        Raises: as ``submit`` when it refuses.
        """
        self._admit(rows, timeout_s, continues=False)
        return Expected(self._queue, rows)

    async def aclose(self) -> None:
        """Answer everything that was accepted."""
        self._closing = True
        self._dispatch()
        await self._done.wait()
        self._metrics.forget_queue(self._rows_waiting)

    def check_deadline(self, rows: int, timeout_s: float | None) -> None:
        """Raises DeadlineUnreachable if so many rows more cannot be answered in time."""
        if timeout_s is None or not rows:
            return
        waiting = self._queue.rows + self._queue.expected
        needed_s = self._cost.promised_s(waiting + rows) / self._most_executors
        if needed_s > timeout_s:
            self._metrics.rejected("deadline")
            if timeout_s > 0.0:
                self._cost.refused()
            raise DeadlineUnreachable(
                f"the deadline is in {max(timeout_s, 0.0):.3f} s, the rows waiting and asked for take "
                f"about {needed_s:.3f} s"
            )

    def _admit(self, rows: int, timeout_s: float | None, *, continues: bool) -> None:
        if self._closing:
            raise ShuttingDown("this server is shutting down")
        waiting = self._queue.rows + self._queue.expected
        large = rows > self._max_batch_rows
        limit = self._max_queue_rows - self._max_queue_rows // _FOR_SMALL * large
        # A request larger than the whole queue is taken when nothing else waits.
        if not continues and waiting and waiting + rows > limit:
            self._metrics.rejected("queue_full")
            raise Overloaded(
                f"{waiting} rows are waiting, {rows} more would exceed the queue's {limit}",
                retry_after_s=max(self._cost.seconds(waiting) / self._most_executors, 0.01),
            )
        self.check_deadline(rows, timeout_s)

    def _is_short_work(self, rows: int) -> bool:
        """With an empty queue: whether nothing runs or is about to come, and so many rows are short work."""
        return (
            not self._turns
            and rows <= self._max_batch_rows
            and self._is_short(rows)
            and not self._are_more_to_come()
        )

    def _is_short(self, rows: int) -> bool:
        return self._on_loop and self._cost.is_short(rows)

    def _are_more_to_come(self) -> bool:
        """Whether requests are likely to come at once that should share a batch with those that wait."""
        return self._queue.rows < self._cost.rows_to_gather and self._gathering.more_to_come

    def _look_out(self) -> None:
        """Put the dispatch off for a turn of the loop while requests come in."""
        if not self._dispatch_is_due:
            return
        if self._queue.rows >= self._cost.rows_to_gather or self._gathering.quiet():
            self._gathering.found(len(self._queue))
            self._dispatch()
        else:
            self._next_look = self._loop.call_soon(self._look_out)

    def _dispatch(self) -> None:
        """Ask for executors for what waits, or run it here if that takes less than handing it over."""
        self._dispatch_is_due = False
        if self._next_look:  # an executor that finished was quicker
            self._next_look.cancel()
            self._next_look = None
        while self._queue.rows and not self._turns and self._is_short(self._queue.rows):
            batch = self._cut(1)
            self._run(batch)
            self._finish(batch)
        if self._queue.rows:
            for _ in range(self._executors_to_add()):
                self._turns += 1
                self._executors.ask(self._take_turn)
        if self._closing and not self._queue.rows and not self._turns:
            self._done.set()

    def _executors_to_add(self) -> int:
        """How many more should be at work on what waits; below 0 if some too many are."""
        under_way = tuple(self._under_way)  # executors change it meanwhile
        rows = self._queue.rows + sum(batch.rows for batch in under_way)
        requests = len(self._queue) + sum(len(batch.parts) for batch in under_way)
        loop_s = requests * self._loop_cost.seconds
        return self._cost.executors(rows, loop_s, self._most_executors) - self._turns

    def _cut(self, executors: int) -> Batch:
        return self._queue.cut(self._cost.batch_rows(self._queue.rows, executors))

    def _take_turn(self) -> None:
        """On an executor: run what waits, batch after batch, as long as that is work for this one."""
        batch = self._cut_on_executor(self._turns - len(self._under_way))
        while batch.rows:
            self._under_way.add(batch)
            self._run(batch)
            following = self._cut_on_executor(1, goes_on=True)
            self._under_way.discard(batch)
            if not following.rows:
                break
            self._loop.call_soon_threadsafe(self._executed, batch)
            batch.show(self._watch)
            batch = following
        self._loop.call_soon_threadsafe(self._turn_is_over, batch)
        batch.show(self._watch)

    def _cut_on_executor(self, executors: int, *, goes_on: bool = False) -> Batch:
        """Without rows if there are none, or if a turn that goes on had better leave them to others."""
        try:
            if goes_on and (
                self._executors.are_wanted
                or not self._cost.is_worth_splitting(self._queue.rows)
                or self._executors_to_add() < 0
            ):
                return Batch(cut_at=0.0)
            return self._cut(executors)
        except Exception:  # the turn has to end in order: there are callers of the batch before
            log.exception("cutting a batch failed")
            return Batch(cut_at=0.0)

    def _executed(self, batch: Batch) -> None:
        """Back on the event loop: see that the work goes on first, then answer this batch."""
        self._dispatch()
        self._answer(batch)

    def _turn_is_over(self, last: Batch) -> None:
        """``last`` is without rows if others were quicker."""
        self._turns -= 1
        self._dispatch()
        if last.rows:
            self._answer(last)

    def _run(self, batch: Batch) -> None:
        """The one way through the graph, on whatever thread; what fails is kept for the callers."""
        try:
            feed = batch.feed(self._inputs)
            batch.started_at = time.perf_counter()
            outputs = self._graph(feed)
            batch.ran(outputs, time.perf_counter() - batch.started_at)
        except Exception as exc:  # whatever it was, the callers must hear of it
            batch.failure = exc

    def _finish(self, batch: Batch) -> None:  # it ran on the loop
        self._answer(batch)
        batch.show(self._watch)

    def _answer(self, batch: Batch) -> None:
        """Count a batch and answer its callers, in words for them if it failed."""
        self._metrics.cut("full" if batch.is_full else "executor_free")
        for entry, part in batch.parts:
            if not part.start:
                self._metrics.queue_duration.observe(batch.cut_at - entry.queued_at)
        if not batch.failure:
            self._metrics.batch(batch.rows, batch.seconds, self._padding(batch.rows))
            self._cost.observe(batch.rows, batch.seconds)
        batch.answer()
        if self._trace:
            self._trace.ran(batch)
