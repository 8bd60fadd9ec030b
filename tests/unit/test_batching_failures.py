"""What leaves the queue without an answer, and what is refused before it."""

import asyncio
import threading
import time
from itertools import chain

import numpy as np
import pytest

from serving.batching.batcher import Batcher
from serving.batching.executors import Executors
from serving.errors import DeadlineUnreachable, ExecutionFailed, OutputNotFinite, Overloaded, ShuttingDown
from serving.metrics.registry import GraphMetrics, Metrics
from tests.support import patience
from tests.support.graphs import Graph, batcher, one_by_one, rows_of
from tests.support.patience import until


async def test_cancelled_while_queued_is_never_run():
    """A caller that gave up costs nothing: its rows leave the queue and reach no batch."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph)
    tasks = await one_by_one(made, [rows_of(i, 1) for i in range(5)], first=graph)
    await until(lambda: made.read("vae_queue_rows") == 4)
    tasks[3].cancel()
    await until(lambda: made.read("vae_queue_rows") == 3)
    graph.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await made.aclose()
    assert isinstance(answers[3], asyncio.CancelledError)
    assert [doubled.item() for doubled, _ in answers[:3] + answers[4:]] == [0, 2, 4, 8]
    assert list(chain.from_iterable(graph.batches)) == [0, 1, 2, 4]


async def test_cancelled_while_running_harms_nobody():
    """The batch of a caller that gave up in the middle still answers its neighbours."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph, executors=1)
    first, second, third = await one_by_one(made, [rows_of(0, 1), rows_of(1, 1), rows_of(2, 20)], first=graph)
    await until(lambda: made.read("vae_queue_rows") == 21)
    first.cancel()
    third.cancel()
    graph.gate.set()
    doubled, _ = await second
    assert doubled.item() == 2
    again, _ = await made.submit(rows_of(5, 3))
    assert again.ravel().tolist() == [10, 12, 14]
    await made.aclose()


async def test_a_failed_batch_fails_alone_and_hides_the_reason(caplog):
    """The callers of a failed batch hear of it without internal text; the queue lives on."""
    graph = Graph()
    graph.fail_on = 13.0
    made = batcher(graph)
    with pytest.raises(ExecutionFailed) as failure:
        await made.submit(rows_of(13, 1))
    assert "secret" not in str(failure.value)
    assert "secret" in caplog.text
    doubled, _ = await made.submit(rows_of(1, 2))
    assert doubled.ravel().tolist() == [2, 4]
    await made.aclose()


async def test_a_graph_that_loses_rows_is_a_failure():
    """Output rows must equal input rows, or answers would go to the wrong callers."""
    made = batcher(lambda feed: (feed["rows"][:-1],))
    with pytest.raises(ExecutionFailed):
        await made.submit(rows_of(0, 2))
    await made.aclose()


@pytest.mark.parametrize("executors", [1, 3])
async def test_rows_that_do_not_fit_together_fail_and_the_queue_lives_on(executors):
    """Whatever goes wrong before the graph is run reaches the callers of that batch; nobody waits for ever."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph, executors=executors, max_batch_rows=64)
    first = [asyncio.create_task(made.submit(rows_of(i, 64))) for i in range(executors)]
    await until(lambda: made.read("vae_queue_rows") == 0)
    odd = [asyncio.create_task(made.submit(np.zeros((1, width), np.float32))) for width in (1, 2)]
    await until(lambda: made.read("vae_queue_rows") == 2)
    graph.gate.set()
    await asyncio.gather(*first)
    failures = await asyncio.gather(*odd, return_exceptions=True)
    assert [type(failure) for failure in failures] == [ExecutionFailed, ExecutionFailed]
    doubled, _ = await made.submit(rows_of(1, 2))
    assert doubled.ravel().tolist() == [2, 4]
    await asyncio.wait_for(made.aclose(), patience.SECONDS)


async def test_outputs_that_cannot_be_split_fail_and_the_queue_lives_on():
    """A graph that answers the parts of one request in different shapes fails that request, and no other."""
    graph = Graph()

    def moody(feed):
        doubled, plus_one = graph(feed)
        return (doubled,) if 8.0 in feed["rows"] else (doubled, plus_one)

    made = batcher(moody)
    with pytest.raises(ExecutionFailed):
        await made.submit(rows_of(0, 16))
    doubled, _ = await made.submit(rows_of(1, 2))
    assert doubled.ravel().tolist() == [2, 4]
    await asyncio.wait_for(made.aclose(), patience.SECONDS)


@pytest.mark.parametrize("pause_s", [0.0, 0.002])
async def test_outputs_are_watched_and_the_watcher_harms_nobody(pause_s, caplog):
    """Each batch's outputs are shown once, wherever it ran; a watcher that fails fails for itself, outside the time
    of the graph."""
    shown = []

    def watch(outputs):
        shown.append(len(outputs[0]))
        time.sleep(0.02)
        raise RuntimeError("the watcher's own trouble")

    made = batcher(Graph(), watch=watch)
    for _ in range(50):
        await made.submit(rows_of(0, 1))
        await asyncio.sleep(pause_s)
    await made.aclose()
    assert sum(shown) == made.read("vae_batch_rows_sum") == 50
    assert made.read("vae_inference_duration_seconds_sum") < 0.5 * 0.02 * 50
    assert "the watcher's own trouble" in caplog.text


@pytest.mark.parametrize("count", [1, 30])
async def test_a_graph_of_several_inputs_gets_its_arrays_together(count):
    """Rows of all inputs stay beside each other, in one batch, in parts, and with those of other callers."""

    def subtract(feed):
        return (feed["image"].sum(axis=(1, 2)) - feed["noise"],)

    made = Batcher(
        subtract,
        ("image", "noise"),
        max_batch_rows=8,
        max_queue_rows=1000,
        executors=Executors(2),
        most_executors=2,
        metrics=GraphMetrics(Metrics(), "toy", "score"),
    )
    noise = [np.arange(count, dtype=np.float32) + start for start in (0, 1000)]
    images = [np.stack([np.full((2, 3), value) for value in values]) for values in noise]
    answers = await asyncio.gather(*(made.submit(*pair) for pair in zip(images, noise, strict=True)))
    await made.aclose()
    for (difference,), values in zip(answers, noise, strict=True):
        assert np.array_equal(difference, 5 * values)


async def test_refused_deadlines_let_a_request_through_in_the_end():
    """A graph that was slow once, and is not any more, is found out: refusals do not go on for ever."""
    slow = threading.Event()

    def graph(feed):
        if not slow.is_set():
            time.sleep(0.3)
        return (feed["rows"],)

    made = batcher(graph, max_batch_rows=1)
    await made.submit(rows_of(0, 1))
    slow.set()
    refused = 0
    for _ in range(200):
        try:
            await made.submit(rows_of(0, 1), timeout_s=0.05)
        except DeadlineUnreachable:
            refused += 1
    await made.aclose()
    assert 1 <= refused < 30


async def test_a_full_queue_refuses_at_once_and_says_when_to_retry():
    """Rows beyond the bound are refused; what was accepted is answered all the same."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph, max_queue_rows=10)
    accepted = await one_by_one(made, [rows_of(i, 5) for i in range(3)], first=graph)
    await until(lambda: made.read("vae_queue_rows") == 10)
    with pytest.raises(Overloaded) as refusal:
        await made.submit(rows_of(100, 1))
    assert refusal.value.retry_after_s > 0
    assert made.read("vae_rejected_total", reason="queue_full") == 1
    graph.gate.set()
    await asyncio.gather(*accepted)
    await made.aclose()


async def test_a_deadline_that_cannot_be_met_is_refused():
    """Once the speed is known, a request that would come too late is not queued."""

    def slow(feed):
        threading.Event().wait(0.05)
        return (feed["rows"],)

    made = batcher(slow, max_batch_rows=1)
    await made.submit(rows_of(0, 1))
    with pytest.raises(DeadlineUnreachable):
        await made.submit(rows_of(0, 100), timeout_s=0.2)
    await made.submit(rows_of(0, 1), timeout_s=5.0)
    assert made.read("vae_rejected_total", reason="deadline") == 1
    await made.aclose()


async def test_closing_answers_what_was_accepted_and_refuses_the_rest():
    """Nothing accepted is lost at shutdown."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph)
    tasks = await one_by_one(made, [rows_of(i, 3) for i in range(20)])
    await until(lambda: made.read("vae_queue_rows") > 40)
    closing = asyncio.create_task(made.aclose())
    await asyncio.sleep(0)
    with pytest.raises(ShuttingDown):
        await made.submit(rows_of(0, 1))
    graph.gate.set()
    answers = await asyncio.gather(*tasks)
    await closing
    assert [doubled[0].item() for doubled, _ in answers] == [2 * i for i in range(20)]


async def test_rows_that_give_no_number_fail_alone():
    """NaN or infinity in the outputs is told to whose rows gave it, and not sent as if it were an answer; those who
    shared the batch are answered."""
    graph = Graph()
    graph.gate.clear()
    made = batcher(graph)
    endless = np.full((1, 1), np.inf, np.float32)
    rows = [rows_of(1, 1), rows_of(2, 2), endless, rows_of(3, 1)]
    tasks = await one_by_one(made, rows, first=graph)
    graph.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert len(graph.batches) == 2
    assert isinstance(answers.pop(2), OutputNotFinite)
    assert [doubled[0, 0] for doubled, _ in answers] == [2, 4, 6]
    await made.aclose()


async def test_large_requests_leave_room_for_small_ones():
    """Neighbours who ask for thousands of rows at a time do not shut out those who ask for one."""
    made = batcher(Graph(), max_batch_rows=4, max_queue_rows=16)
    with made.expect(10, None):
        with pytest.raises(Overloaded, match="5 more would exceed the queue's 14"):
            made.expect(5, None)
        with (
            made.expect(4, None),
            made.expect(2, None),
            pytest.raises(Overloaded, match="1 more would exceed the queue's 16"),
        ):
            made.expect(1, None)
    await made.aclose()


async def test_rows_that_are_being_made_have_their_place():
    """They count as waiting until they are queued or given up; who asked before them is not refused after them."""
    made = batcher(Graph(), max_queue_rows=10)
    with made.expect(6, None):
        with pytest.raises(Overloaded), made.expect(5, None):
            pytest.fail("there is no room for so many")
        with pytest.raises(Overloaded):
            await made.submit(rows_of(0, 5))
        await made.submit(rows_of(0, 4))
    assert len((await made.submit(rows_of(0, 10), continues=True))[0]) == 10
    await made.aclose()
