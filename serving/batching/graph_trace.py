"""Tells traced calls what became of their rows at one graph."""

import time

from serving.batching.batch import Batch, Entry
from serving.tracing.call_trace import BatchRun, Graph, Wait, current


class GraphTrace:
    """Of one queue; there is none where nothing is traced."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def queued(self, entry: Entry) -> None:
        """By the call that runs now."""
        entry.trace = current.get()

    def left(self, entry: Entry) -> None:
        """Nobody awaits it any more, and it still waits."""
        if entry.trace and entry.trace.sampled and entry.waiting == entry.count:
            entry.trace.waited(Wait(self._graph, entry.queued_at, time.perf_counter(), entry.count))

    def ran(self, batch: Batch) -> None:
        """Well or not; a batch with the rows of many calls is one run, of which each has a span."""
        traced = [(entry, part) for entry, part in batch.parts if entry.trace and entry.trace.sampled]
        if not traced:
            return
        run = BatchRun(
            self._graph,
            batch.started_at or batch.cut_at,
            batch.seconds,
            rows=batch.rows,
            requests=len(batch.parts),
            failed=batch.failure is not None,
        )
        for entry, part in traced:
            assert entry.trace
            if not part.start:
                entry.trace.waited(Wait(self._graph, entry.queued_at, batch.cut_at, entry.count))
            entry.trace.ran(run, part.stop - part.start)
