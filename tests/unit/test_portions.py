import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching import portions


class Graph:
    """Doubles its rows and adds one to them; takes ``seconds(rows)``."""

    def __init__(self, seconds=None):
        self.sizes = []
        self.seconds = seconds

    def __call__(self, rows):
        self.sizes.append(len(rows))
        if self.seconds:
            time.sleep(self.seconds(len(rows)))
        return rows * 2, rows + 1


def rows_of(count):
    return np.arange(count, dtype=np.float32)[:, None]


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 20))
def test_the_rows_of_a_batch_keep_their_order(count, at_once, requests):
    """Whatever the portions, every row is run once and all outputs are in the order of the rows."""
    graph = Graph()
    doubled, plus_one = portions.run(graph, rows_of(count), at_once, requests)
    assert np.array_equal(doubled, rows_of(count) * 2)
    assert np.array_equal(plus_one, rows_of(count) + 1)
    assert sum(graph.sizes) == count


@pytest.mark.parametrize(
    ("count", "at_once", "requests", "sizes"),
    [
        (64, 16, 1, [16, 16, 16, 16]),
        (50, 16, 1, [17, 17, 16]),
        (31, 16, 1, [31]),
        (16, 16, 1, [16]),
        (64, 16, 4, [16, 16, 16, 16]),
        (64, 16, 5, [64]),
        (64, 16, 64, [64]),
    ],
)
def test_large_requests_are_run_in_portions(count, at_once, requests, sizes):
    """Portions are of about equal size; the rows of many small requests stay together."""
    graph = Graph()
    portions.run(graph, rows_of(count), at_once, requests)
    assert graph.sizes == sizes


def test_a_graph_that_loses_rows_is_seen_in_portions_too():
    """The number of rows that comes out is what the graph gave, for the batcher to check."""
    (out,) = portions.run(lambda rows: (rows[1:],), rows_of(64), 16, 1)
    assert len(out) == 60


def test_the_quickest_size_is_found():
    """Here the cost of a row doubles beyond 32 rows, so that a batch of 128 is quickest in four."""
    graph = Graph(lambda rows: 0.0001 * rows if rows <= 32 else 0.0002 * rows)
    assert 16 <= portions.quickest(graph, rows_of(128), threads=2) <= 32
    assert max(graph.sizes) <= 100  # 10 ms, more is never cut


def test_a_graph_that_gains_nothing_keeps_whole_batches():
    """A dense network: each call costs the same, so one is quickest."""
    assert portions.quickest(Graph(lambda rows: 0.003), rows_of(64), threads=1) == 64


@pytest.mark.parametrize(("batch", "seconds"), [(24, 0.0), (64, 0.0), (64, 0.02)])
def test_small_batches_fast_and_slow_graphs_are_not_measured(batch, seconds):
    """Portions would not pay, or the graph is never given so many rows."""
    graph = Graph(lambda _: seconds)
    assert portions.quickest(graph, rows_of(batch), threads=1) == batch
    assert len(graph.sizes) == 2
