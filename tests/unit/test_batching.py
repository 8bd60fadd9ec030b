import asyncio
import threading
import time
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching.executors import Executors
from serving.errors import ExecutionFailed
from serving.metrics.registry import Metrics
from tests.support import patience
from tests.support.graphs import Graph, batcher, one_by_one, rows_of
from tests.support.patience import until, wait_until


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=25), st.integers(1, 16), st.integers(1, 3))
def test_every_caller_gets_its_own_rows(sizes, max_rows, executors):
    """Whatever the mix of sizes, answers keep their order, batches keep the cap, rows in = rows out."""

    async def scenario():
        graph = Graph()
        made = batcher(graph, max_batch_rows=max_rows, executors=executors)
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        asked = [rows_of(start, size) for start, size in zip(starts, sizes, strict=True)]
        answers = await asyncio.gather(*(made.submit(rows) for rows in asked))
        await made.aclose()
        for rows, (doubled, plus_one) in zip(asked, answers, strict=True):
            assert np.array_equal(doubled, rows * 2)
            assert np.array_equal(plus_one, rows + 1)
        assert max(map(len, graph.batches)) <= max_rows
        assert sorted(chain.from_iterable(graph.batches)) == list(range(sum(sizes)))
        assert made.read("vae_batch_rows_sum") == sum(sizes)
        assert made.read("vae_queue_rows") == 0

    asyncio.run(scenario())


async def test_requests_that_wait_are_batched_together():
    """While one batch runs, all requests that come share the next, up to its cap."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph)
    tasks = await one_by_one(made, [rows_of(i, 1) for i in range(10)], first=graph)
    await until(lambda: made.read("vae_queue_rows") == 9)
    graph.gate.set()
    await asyncio.gather(*tasks)
    await made.aclose()
    assert [len(batch) for batch in graph.batches] == [1, 8, 1]


async def test_queues_of_one_name_are_added_up():
    """Two versions of a model have one series between them: the rows that wait for either, until it is closed."""
    metrics = Metrics()
    graphs = [Graph(), Graph()]
    made = [batcher(graph, metrics=metrics) for graph in graphs]
    tasks = []
    for graph, one, waiting in zip(graphs, made, (2, 3), strict=True):
        graph.gate.clear()
        tasks += await one_by_one(one, [rows_of(i, 1) for i in range(waiting + 1)], first=graph)
    await until(lambda: made[0].read("vae_queue_rows") == 5)
    graphs[1].gate.set()
    await made[1].aclose()
    assert made[0].read("vae_queue_rows") == 2
    graphs[0].gate.set()
    await asyncio.gather(made[0].aclose(), *tasks)
    assert made[0].read("vae_queue_rows") == 0


async def test_requests_of_one_turn_are_cut_together():
    """Requests that arrive before the loop looks again share a batch, though the executor is idle."""
    graph = Graph()
    made = batcher(graph)
    await asyncio.gather(*(made.submit(rows_of(i, 1)) for i in range(5)))
    await made.aclose()
    assert [len(batch) for batch in graph.batches] == [5]


@pytest.mark.parametrize("run_s", [0.0, 0.00015])
async def test_dense_requests_to_a_fast_graph_are_gathered(run_s):
    """Requests in turns of their own share batches while they come fast; each still gets its own rows. However
    long a run takes: if it is short enough for the event loop, it is short enough to wait for others."""
    graph = Graph()

    def busy(feed):
        until = time.perf_counter() + run_s
        while time.perf_counter() < until:
            pass
        return graph(feed)

    made = batcher(busy, max_batch_rows=64, executors=2)
    for _ in range(100):  # until the graph is known to be fast and the requests to be dense
        await made.submit(rows_of(0, 1))
    graph.batches.clear()
    tasks = await one_by_one(made, [rows_of(i, 1) for i in range(40)])
    answers = await asyncio.gather(*tasks)
    await made.aclose()
    assert [doubled.item() for doubled, _ in answers] == [2 * i for i in range(40)]
    assert max(map(len, graph.batches)) > 4


async def test_a_lone_request_is_not_kept_for_others():
    """The loop looks out for the next request for some turns only."""
    graph = Graph()
    made = batcher(graph)
    for _ in range(100):
        await made.submit(rows_of(0, 1))
    task = asyncio.create_task(made.submit(rows_of(7, 1)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert task.done()
    await made.aclose()


async def test_looking_out_ends_when_the_rows_are_taken():
    """By an executor that was quicker, say: with nothing left to dispatch the loop does not spin."""
    made = batcher(Graph())
    for _ in range(100):
        await made.submit(rows_of(0, 1))
    looks = []
    look_out = made._look_out
    made._look_out = lambda: (looks.append(1), look_out())
    made._look_out()
    for _ in range(10):
        await asyncio.sleep(0)
    await made.aclose()
    assert len(looks) == 1


async def test_an_executor_goes_on_while_the_loop_is_held_up():
    """It takes the next batch itself; the loop is not needed before the callers are answered."""
    graph = Graph()

    def slow(feed):
        time.sleep(0.003)
        return graph(feed)

    made = batcher(slow, max_batch_rows=1)
    await made.submit(rows_of(0, 1))
    tasks = await one_by_one(made, [rows_of(i, 1) for i in range(1, 6)])
    wait_until(lambda: len(graph.batches) == 6)  # this holds up the loop
    await asyncio.gather(*tasks)
    await made.aclose()


async def test_a_lone_request_to_a_fast_graph_takes_no_turn_of_the_loop():
    """A caller at a time: the rows run where they were submitted, and are counted like others."""
    made = batcher(Graph())
    for _ in range(100):
        await made.submit(rows_of(0, 1))
        await asyncio.sleep(0.002)
    task = asyncio.create_task(made.submit(rows_of(7, 1)))
    await asyncio.sleep(0)
    assert task.done()
    assert made.read("vae_batch_rows_sum") == 101
    assert made.read("vae_queue_duration_seconds_count") == 101
    await made.aclose()


async def test_a_lone_request_that_fails_hides_the_reason():
    """The short way gives the same error as the queue."""
    graph = Graph()
    made = batcher(graph)
    for _ in range(100):
        await made.submit(rows_of(0, 1))
        await asyncio.sleep(0.002)
    graph.fail_on = 13.0
    with pytest.raises(ExecutionFailed) as failure:
        await made.submit(rows_of(13, 1))
    assert "secret" not in str(failure.value)
    await made.aclose()


async def test_idle_executors_share_a_slow_batch():
    """Rows that take long are divided among the executors that are idle."""
    graph = Graph()

    def slow(feed):
        threading.Event().wait(0.002 * len(feed["rows"]))
        return graph(feed)

    made = batcher(slow, max_batch_rows=64, executors=2)
    await made.submit(rows_of(0, 4))
    graph.batches.clear()
    await made.submit(rows_of(0, 8))
    await made.aclose()
    assert sorted(len(batch) for batch in graph.batches) == [4, 4]


async def test_a_short_batch_runs_without_a_hand_over():
    """Once a graph is known to be fast, a lone batch is run by the event loop's own thread."""
    seen = []

    def fast(feed):
        seen.append(threading.current_thread())
        return (feed["rows"],)

    made = batcher(fast)
    for _ in range(50):
        await made.submit(rows_of(0, 1))
    await made.aclose()
    assert seen[0] is not threading.main_thread()
    assert seen[-1] is threading.main_thread()


async def test_a_huge_request_does_not_starve_a_small_one():
    """A single row that comes behind 400 rows is in one of the next three batches."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph)
    huge = asyncio.create_task(made.submit(rows_of(0, 400)))
    await until(lambda: made.read("vae_queue_rows") == 400 - 8)
    small = asyncio.create_task(made.submit(rows_of(1000, 1)))
    await until(lambda: made.read("vae_queue_rows") == 400 - 8 + 1)
    graph.gate.set()
    await asyncio.gather(huge, small)
    await made.aclose()
    place = next(index for index, batch in enumerate(graph.batches) if 1000.0 in batch)
    assert place <= 3


async def test_graphs_share_the_executors_in_turn():
    """A graph that always has more to do leaves the executor to another after each batch; no more threads than
    executors run at once, whatever the number of graphs."""
    order, running, most = [], [], []

    def of(name):
        def run(feed):
            running.append(name)
            most.append(len(running))
            time.sleep(0.003)
            order.append(name)
            running.remove(name)
            return (feed["rows"],)

        return run

    executors = Executors(1)
    slow, other = (batcher(of(name), shared=executors, max_batch_rows=1) for name in ("slow", "other"))
    await asyncio.gather(slow.submit(rows_of(0, 1)), other.submit(rows_of(0, 1)))
    order.clear()
    huge = asyncio.create_task(slow.submit(rows_of(0, 30)))
    await asyncio.gather(*(other.submit(rows_of(i, 1)) for i in range(5)))
    assert order.count("slow") <= 2 * order.count("other") + 2
    await huge
    await slow.aclose()
    await other.aclose()
    executors.shutdown()
    assert max(most) == 1


async def test_a_batch_is_cut_when_its_turn_begins():
    """Rows that come while a graph waits for an executor are in the batch that it then runs."""
    graph, blocker = Graph(), Graph()
    executors = Executors(1)
    blocker.gate.clear()
    other = batcher(blocker, shared=executors)
    made = batcher(graph, shared=executors)
    blocking = asyncio.create_task(other.submit(rows_of(0, 1)))
    await asyncio.sleep(0)
    tasks = await one_by_one(made, [rows_of(i, 1) for i in range(6)])
    blocker.gate.set()
    await asyncio.gather(blocking, *tasks)
    assert graph.batches == [[0, 1, 2, 3, 4, 5]]
    await made.aclose()
    await other.aclose()


async def test_a_short_request_of_which_a_part_is_cut_is_answered_whole():
    """Short work goes through at once even where batches are kept smaller than it: the rest follows, nobody waits."""
    made = batcher(Graph(), max_batch_rows=64)
    for _ in range(100):
        made._cost.observe(64, 0.0001)
        made._cost.observe(1, 0.00001)
    for _ in range(100):  # it has become slow, or seems to have: batches are cut to 8 rows
        made._cost._typical.shift(64, 1.0)
    assert made._cost.batch_rows(40, 1) == 8
    doubled, _ = await asyncio.wait_for(made.submit(rows_of(0, 40)), patience.SECONDS)
    assert doubled.ravel().tolist() == [2 * row for row in range(40)]
    await asyncio.wait_for(made.aclose(), patience.SECONDS)
