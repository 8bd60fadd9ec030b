"""Tells calls that are recorded what became of their rows at one graph."""

import time

from serving.batching.batch import Batch, Entry
from serving.tracing.call_trace import BatchRun, Graph, Wait


class GraphTrace:
    """Of one queue; there is none where nothing is traced."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def left(self, entry: Entry) -> None:
        """Nobody awaits it any more, and it still waits."""
        if entry.trace and entry.waiting == entry.count:
            entry.trace.waited(Wait(self._graph, entry.queued_at, time.perf_counter(), entry.count))

    def ran(self, batch: Batch) -> None:
        """Well or not; a batch with the rows of many calls is one run, of which each has a span."""
        for entry, _ in batch.parts:
            if entry.trace:
                self._record(batch)
                break

    def _record(self, batch: Batch) -> None:
        failed, started_at = batch.failure is not None, batch.started_at or batch.cut_at
        seconds = time.perf_counter() - started_at if failed else batch.seconds
        run = BatchRun(
            self._graph, started_at, seconds, rows=batch.rows, requests=len(batch.parts), failed=failed
        )
        for entry, part in batch.parts:
            if not entry.trace:
                continue
            if not part.start:
                entry.trace.waited(Wait(self._graph, entry.queued_at, batch.cut_at, entry.count))
            entry.trace.ran(run, part.stop - part.start)
