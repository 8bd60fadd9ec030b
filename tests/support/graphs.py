"""A graph to put behind a batcher, and ways to fill its queue."""

import asyncio
import threading

import numpy as np

from serving.batching.batcher import Batcher
from serving.batching.executors import Executors
from serving.metrics.registry import GraphMetrics, Metrics
from tests.support import patience


class Graph:
    """Doubles its rows; can be held at a gate, and remembers the batches it saw."""

    def __init__(self):
        self.batches = []
        self.entered = threading.Event()
        """Once it has been called."""
        self.gate = threading.Event()
        self.gate.set()
        self.fail_on = None

    def __call__(self, feed):
        rows = feed["rows"]
        self.entered.set()
        self.gate.wait(patience.SECONDS)
        self.batches.append(rows[:, 0].tolist())
        if self.fail_on in rows[:, 0]:
            raise RuntimeError("secret text of the runtime")
        return rows * 2, rows + 1


def batcher(graph, *, executors=1, shared=None, name="decoder", metrics=None, **options):
    """A batcher with ``read`` for its metrics; ``shared`` executors, and ``metrics``, are those of others as well."""
    metrics = metrics or Metrics()
    made = Batcher(
        graph,
        ("rows",),
        executors=shared or Executors(executors),
        most_executors=executors,
        metrics=GraphMetrics(metrics, "toy", name),
        **{"max_batch_rows": 8, "max_queue_rows": 1000} | options,
    )
    made.read = lambda metric, **labels: metrics.registry.get_sample_value(
        metric, {"model": "toy", **({} if "reason" in labels else {"graph": name}), **labels}
    )
    return made


def rows_of(start, count):
    return np.arange(start, start + count, dtype=np.float32)[:, None]


async def one_by_one(made, all_rows, *, first=None):
    """Submit each in turns of the loop of its own, so that they are not cut together; the ``first`` of them once the
    graph is at work on it."""
    tasks = []
    for rows in all_rows:
        tasks.append(asyncio.create_task(made.submit(rows)))
        for _ in range(3):
            await asyncio.sleep(0)
        if first:
            await asyncio.to_thread(first.entered.wait, patience.SECONDS)
    return tasks
