"""How many rows of a batch a graph is given at once on a CPU: as many as it is quickest with.

What the layers of a convolutional network hand to each other for a whole batch does not fit into a core's
cache; in portions it may. A dense network has weights to read for each portion instead. Which of the two
counts depends on the graph and the machine, so it is measured when the graph is loaded.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from serving.batching.batch import Outputs, Rows, Run
from serving.batching.cost_model import LONGEST_BATCH_S

_FEWEST_ROWS = 16
"""Smaller portions are not tried: calling the graph costs too much by itself."""
_SHORTEST_S = 0.002
"""A batch that takes less is not measured: its graph is dense, or so small that it fits."""
_ROUNDS = 5
"""Of each size; the quickest counts, because other work on the machine only ever adds."""
_WORTH_IT = 0.98
"""Portions must take less than so much of the whole batch's time."""


def quickest(graph: Run, example: Rows, threads: int) -> int:
    """``len(example)``, a whole batch, unless a row takes less time in one of a half, a quarter and so on.

    Measured on so many threads at once, because they share a cache and the way to memory, and with no
    more rows than ``serving.batching.cost_model`` gives to this graph.
    """
    first = example[:_FEWEST_ROWS]
    a_row = min(_seconds(lambda: graph(first)) for _ in range(2)) / len(first)
    rows = min(len(example), int(LONGEST_BATCH_S / a_row))
    if rows < 2 * _FEWEST_ROWS or rows * a_row < _SHORTEST_S:
        return len(example)
    sizes = [rows]
    while sizes[-1] // 2 >= _FEWEST_ROWS:
        sizes.append(sizes[-1] // 2)
    together = Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:

        def seconds_of(size: int) -> float:
            def measured(_: int) -> float:
                together.wait()
                return _seconds(lambda: run(graph, example[:rows], size, requests=1))

            return sum(pool.map(measured, range(threads)))

        rounds = [[seconds_of(size) for size in sizes] for _ in range(_ROUNDS)]
    seconds = dict(zip(sizes, map(min, zip(*rounds, strict=True)), strict=True))
    best = min(sizes, key=seconds.__getitem__)
    return best if seconds[best] < seconds[rows] * _WORTH_IT else len(example)


def run(graph: Run, rows: Rows, at_once: int, requests: int) -> Outputs:
    """The graph's outputs for the rows of so many requests, in portions of ``at_once`` or a little more.

    Many small requests keep the event loop at work, and after each portion a thread has to wait until the
    loop lets go of Python's lock, which costs more than the cache saves: their rows stay together.
    """
    count = len(rows)
    if count < 2 * at_once or count < requests * _FEWEST_ROWS:
        return graph(rows)
    portion = math.ceil(count / (count // at_once))  # of equal size, as far as that goes
    outputs = [graph(rows[first : first + portion]) for first in range(0, count, portion)]
    return tuple(np.concatenate(pieces) for pieces in zip(*outputs, strict=True))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
