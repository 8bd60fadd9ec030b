"""How many rows of a batch a graph is given at once on a CPU: as many as it is quickest with.

What the layers of a convolutional network hand to each other for a whole batch does not fit into a core's
cache; in portions it may. A dense network has weights to read for each portion instead. Which of the two
counts depends on the graph and the machine, so it is measured when the graph is loaded.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from serving.batch import Outputs

Rows = NDArray[np.float32]
Run = Callable[[Rows], Outputs]
"""One graph: [rows, …] → arrays with the same number of rows. Called from executor threads."""

_FEWEST_ROWS = 16
"""Smaller portions are not tried: calling the graph costs too much by itself."""
_ROUNDS = 5
"""Of each size; the quickest counts, because other work on the machine only ever adds."""
_WORTH_IT = 0.985
"""Portions must take less than so much of the whole batch's time."""
_LONGEST_S = 0.04
"""A graph whose batch takes longer is not measured: it is never given so many rows, see ``serving.pace``."""


def quickest(graph: Run, example: Rows, threads: int) -> int:
    """``len(example)``, a whole batch, or a half of it, a quarter and so on if a row takes less time then.

    Measured on so many threads at once, because they share a cache and the way to memory.
    """
    sizes = [len(example)]
    while sizes[-1] // 2 >= _FEWEST_ROWS:
        sizes.append(sizes[-1] // 2)
    if len(sizes) == 1 or _seconds(lambda: graph(example)) > _LONGEST_S:
        return len(example)
    with ThreadPoolExecutor(threads) as pool:

        def seconds_of(rows: int) -> float:
            return _seconds(
                lambda: list(pool.map(lambda _: run(graph, example, rows, requests=1), range(threads)))
            )

        rounds = [[seconds_of(rows) for rows in sizes] for _ in range(_ROUNDS)]
    seconds = dict(zip(sizes, map(min, zip(*rounds, strict=True)), strict=True))
    best = min(sizes, key=seconds.__getitem__)
    return best if seconds[best] < seconds[len(example)] * _WORTH_IT else len(example)


def run(graph: Run, rows: Rows, at_once: int, requests: int) -> Outputs:
    """The graph's outputs for the rows of so many requests, given to it in portions of about ``at_once``.

    Many small requests keep the event loop at work, and after each portion a thread has to wait until the
    loop lets go of Python's lock, which costs more than the cache saves: their rows stay together.
    """
    count = len(rows)
    if count <= at_once or count < requests * _FEWEST_ROWS:
        return graph(rows)
    portion = math.ceil(count / math.ceil(count / at_once))  # of equal size, as far as that goes
    outputs = [graph(rows[first : first + portion]) for first in range(0, count, portion)]
    return tuple(np.concatenate(pieces) for pieces in zip(*outputs, strict=True))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
