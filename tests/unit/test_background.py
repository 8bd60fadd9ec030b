"""Work beside the event loop: in pieces, in turn, and no longer than somebody waits for it."""

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.api import sampling
from serving.host import background as module
from serving.host.background import Background
from serving.latent import interpolation
from tests.support import patience


@pytest.fixture
def background():
    made = Background(2)
    yield made
    made.shutdown()


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.integers(1, 3_000_000), st.integers(1, 100))
def test_pieces_are_the_whole_in_order(rows, values, least_rows):
    """Whatever a row costs: each row once, in order, and no piece but the last shorter than wanted."""
    made = Background(1)
    parts = asyncio.run(made.pieces(rows, values, lambda part: part, least_rows=least_rows))
    made.shutdown()
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(rows))
    assert all(part.stop - part.start >= min(least_rows, rows) for part in parts[:-1])


async def test_a_little_is_done_at_once_and_much_is_not_done_on_the_loop(background):
    """Where work is done depends on how much it is; the loop's thread does none that takes long."""
    here = threading.current_thread()
    assert await background.pieces(4, 10, lambda _: threading.current_thread()) == [here]
    threads = await background.pieces(100, 100_000, lambda _: threading.current_thread())
    assert len(threads) > 1
    assert here not in threads


async def test_the_requests_take_turns():
    """A short request that comes behind a long one is done before the long one is."""
    made, order = Background(1), []

    def piece(name):
        return lambda part: order.append(name)

    long = asyncio.create_task(made.pieces(50, module._PIECE, piece("long")))
    await asyncio.sleep(0)
    await made.pieces(2, module._PIECE, piece("short"))
    assert order.count("long") < 6
    await long
    made.shutdown()


async def test_work_that_nobody_waits_for_ends_with_its_piece(background):
    """A caller that leaves, or whose deadline passes, costs the piece that was under way and no more."""
    begun, first, gate = [], threading.Event(), threading.Event()

    def piece(part):
        begun.append(part.start)
        first.set()
        gate.wait(patience.SECONDS)

    task = asyncio.create_task(background.pieces(1000, module._PIECE, piece))
    await asyncio.to_thread(first.wait, 10)
    task.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await background.pieces(2, module._PIECE, lambda part: None)
    assert begun == [0]


async def test_a_walk_in_pieces_is_the_walk(background, monkeypatch):
    """Every leg and every point of it, wherever the pieces meet."""
    monkeypatch.setattr(module, "_SMALL", 0)
    monkeypatch.setattr(module, "_PIECE", 100)
    points = np.random.default_rng(0).normal(size=(23, 2, 3)).astype(np.float32)
    for spherical in (False, True):
        whole = interpolation.walk(points, 5, spherical=spherical)
        walked = await sampling.walk(points, 5, spherical=spherical, background=background)
        np.testing.assert_array_equal(walked, whole)


async def test_rows_share_the_matrices_of_the_pools(background):
    """However long a row takes: one row at a time, each piece would read the matrix of every pool for it alone."""
    sizes = []

    class Pools:
        kinds = tuple("0123456789")

        def probabilities(self, mean):
            sizes.append(len(mean))
            return np.full((len(mean), 10), 0.1, np.float32)

    means = np.zeros((200, 1024), np.float32)
    assert (await sampling.pool_probabilities(means, Pools(), background)).shape == (200, 10)
    assert sizes == [64, 64, 64, 8]
