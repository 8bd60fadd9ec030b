"""Runs in bound buffers, on the CPU: what a GPU adds is the kind of memory and the recorded graph."""

import asyncio
import logging
import signal
import threading

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import server
from serving.batching.executors import Executors
from serving.bundle import UnreadableBundle
from serving.client import AsyncClient
from serving.errors import ExecutionFailed, MemoryShort
from serving.models.loading import load
from serving.runtime import lost_gpu, providers
from serving.runtime.bound_runs import BoundRuns
from serving.runtime.buffers import HostBuffer
from serving.runtime.pixels import FINITE, PIXELS, with_pixels
from serving.runtime.providers import Provider
from serving.runtime.session import Session
from serving.server import running
from serving.wire.images import to_uint8
from tests.support import toy
from tests.support.graphs import batcher, rows_of

PLAIN = Provider("cpu", "tests")
BOUND = Provider("cpu", "tests", binds_on_cpu=True)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    root = tmp_path_factory.mktemp("bound") / "models"
    return toy.make_bundle(root, with_score=True)


def session(sealed, provider, role="decoder", **options):
    graph = sealed.manifest.graphs[role]
    return Session(sealed.content(graph.file), graph, provider, role=role, **options)


def latents(sealed, rows, seed=0):
    shape = (rows, *sealed.manifest.latent_shape)
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), most=st.integers(1, 24))
def test_whatever_the_batches_the_answers_are_those_of_a_plain_run(sealed, sizes, most):
    """Rows in, rows out, in order, for batches that fill a bucket, leave it half empty, or exceed the largest; and
    no later batch changes an earlier answer."""
    plain, bound = session(sealed, PLAIN), session(sealed, BOUND, most_rows=most)
    asked = [latents(sealed, rows, seed) for seed, rows in enumerate(sizes)]
    answers = [bound(rows)[0] for rows in asked]
    for rows, answer in zip(asked, answers, strict=True):
        np.testing.assert_allclose(answer, plain(rows)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "most", "padding"), [(1, 64, 0), (3, 64, 1), (33, 64, 31), (64, 64, 0), (5, 6, 1), (6, 6, 0)]
)
def test_a_bucket_is_a_power_of_two_or_the_most_there_are(sealed, rows, most, padding):
    """What a batch leaves of its bucket is padding; without buckets there is none."""
    assert session(sealed, BOUND, most_rows=most).padding(rows) == padding
    assert session(sealed, PLAIN, most_rows=most).padding(rows) == 0


def test_memory_is_taken_once_for_each_bucket(sealed, monkeypatch):
    """The second batch of a size finds its buffers, whatever came between."""
    made = []

    class Counted(HostBuffer):
        def __init__(self, shape, dtype):
            made.append(shape)
            super().__init__(shape, dtype)

    monkeypatch.setattr("serving.runtime.session.HostBuffer", Counted)
    bound = session(sealed, BOUND, most_rows=16)
    for rows in (3, 4, 9, 3, 16, 2, 4, 12):
        bound(latents(sealed, rows))
    assert sorted(shape[0] for shape in made) == [2, 2, 4, 4, 16, 16]


def test_every_run_takes_its_turn(sealed):
    """On the one thread that a GPU's graphs belong to, whoever asks."""
    executors = Executors(1)
    threads = set()

    def turn(work):
        return executors.call(lambda: (threads.add(threading.get_ident()), work())[1])

    bound = session(sealed, BOUND, turn=turn)
    bound(latents(sealed, 3))
    asked = threading.Thread(target=lambda: bound(latents(sealed, 5)))
    asked.start()
    asked.join()
    executors.shutdown()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_a_call_raises_on_an_executor_reaches_the_caller():
    """As it is, and the executor goes on; a call from the executor itself does not wait for itself."""
    executors = Executors(1)
    with pytest.raises(KeyError, match="gone"):
        executors.call(lambda: {}["gone"])
    assert executors.call(lambda: executors.call(lambda: 7)) == 7
    executors.shutdown()


class Narrow(HostBuffer):
    """Memory for so many rows at most."""

    most = 8

    def __init__(self, shape, dtype):
        if shape[0] > self.most:
            raise MemoryError("the GPU has no memory left")
        super().__init__(shape, dtype)


def test_batches_are_no_larger_than_memory_holds(sealed, monkeypatch, caplog):
    """A size for which there is no memory is never run again, and said so; smaller ones are served."""
    monkeypatch.setattr("serving.runtime.session.HostBuffer", Narrow)
    with caplog.at_level(logging.WARNING):
        loaded = load(sealed, BOUND, 64)
    assert {graph.max_rows for name, graph in loaded.graphs.items() if "score" not in name} == {8}
    assert "decoder: batches of at most 8 rows" in caplog.text


def test_a_model_that_does_not_fit_is_refused(sealed, monkeypatch):
    """In one line that says of what there was too little; not for good, since there may be more another time."""
    monkeypatch.setattr(Narrow, "most", 0)
    monkeypatch.setattr("serving.runtime.session.HostBuffer", Narrow)
    with pytest.raises(UnreadableBundle, match="the encoder does not fit into memory"):
        load(sealed, BOUND, 64)


def test_bytes_are_those_that_the_host_would_have_made(sealed):
    """Rounded, halves to even, and bounded, for any range of values; the floats are there as before."""
    rows = latents(sealed, 13)
    for value_range in ((0.0, 1.0), (-1.0, 1.0), (0.2, 0.7), (0.0, 255.0)):
        bound = session(sealed, BOUND, pixels_of=value_range)
        (floats,) = bound(rows)
        pixels, finite = bound.pixels(rows)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, to_uint8(floats, value_range))
        assert np.isfinite(finite).all()
    assert session(sealed, PLAIN, pixels_of=(0.0, 1.0)).pixels is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_told_beside_the_bytes(sealed, value):
    """A byte cannot say it; the other rows are good."""
    rows = latents(sealed, 3)
    content, decoder = sealed.content("decoder.onnx"), sealed.manifest.graphs["decoder"]
    image = decoder.outputs["image"]
    run = ort.InferenceSession(with_pixels(content, image, (0.0, 1.0))).run
    feed = {decoder.inputs["latent"]: rows}
    _, _, finite = run([image, PIXELS, FINITE], feed)
    assert np.isfinite(finite).all()
    rows[1] = value
    images, _, finite = run([image, PIXELS, FINITE], feed)
    assert (
        np.isfinite(finite).all(axis=(1, 2, 3)).tolist() == np.isfinite(images).all(axis=(1, 2, 3)).tolist()
    )
    assert np.isfinite(finite)[[0, 2]].all()


def test_a_graph_too_old_for_bytes_gives_floats(sealed, monkeypatch, caplog):
    """Whatever keeps the addition from being loaded, the decoder is served as it is, with a line in the log."""
    monkeypatch.setattr("serving.runtime.session.with_pixels", lambda *_: b"no graph")
    with caplog.at_level(logging.INFO):
        bound = session(sealed, BOUND, pixels_of=(0.0, 1.0))
    assert bound.pixels is None
    assert "runs plainly" in caplog.text
    np.testing.assert_allclose(
        bound(latents(sealed, 2))[0], session(sealed, PLAIN)(latents(sealed, 2))[0], atol=1e-6
    )


class Failing:
    """A session of ONNX Runtime whose runs in bound buffers fail as it is told."""

    def __init__(self, session):
        self._session = session
        self.says = None

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run_with_iobinding(self, *arguments):
        if self.says:
            raise RuntimeError(self.says)
        self._session.run_with_iobinding(*arguments)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (
            "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 9",
            MemoryShort,
        ),
        ("CUDA failure 2: out of memory ; GPU=0", MemoryShort),
        ("Available memory of 7 is smaller than requested bytes of 9", MemoryShort),
        ("CUDNN_STATUS_ALLOC_FAILED", MemoryShort),
        ("CUDA failure 700: an illegal memory access was encountered", ExecutionFailed),
    ],
)
async def test_memory_that_runs_out_costs_a_batch_and_not_the_server(sealed, says, expected):
    """Its callers are told that others may go better, in our words; the next batch is answered."""
    inner = session(sealed, PLAIN)
    failing = Failing(inner._session)
    names = inner.inputs, inner._outputs
    bound = BoundRuns(failing, *names, buffer=HostBuffer, most_rows=8)
    made = batcher(lambda feed: bound.run({names[0][0]: feed["rows"]}))
    rows = latents(sealed, 3)
    (before,) = await made.submit(rows)
    failing.says = says
    with pytest.raises(expected) as refused:
        await made.submit(rows)
    assert says not in str(refused.value)
    failing.says = None
    (after,) = await made.submit(rows)
    await made.aclose()
    np.testing.assert_array_equal(before, after)


async def test_padding_is_counted():
    """By the graph, so that one sees what buckets cost."""
    made = batcher(lambda feed: [feed["rows"]], padding=lambda rows: 8 - rows)
    await made.submit(rows_of(0, 3))
    await made.submit(rows_of(0, 8))
    await made.aclose()
    assert made.read("vae_batch_padding_rows_total") == 5


async def test_a_graph_may_be_kept_off_the_event_loop():
    """A batch that is short would wait there for the turn of another model's."""
    threads = set()

    def graph(feed):
        threads.add(threading.get_ident())
        return [feed["rows"]]

    made = batcher(graph, on_loop=False, measured=[(1, 1e-6), (8, 1e-6)])
    for start in range(20):
        await made.submit(rows_of(start, 1))
    await made.aclose()
    assert threading.get_ident() not in threads


async def test_a_server_with_bound_buffers_answers_as_one_without(settings, monkeypatch):
    """Samples with the same seed, posteriors, scores: through the whole server, with its metrics."""

    async def answers():
        async with running(settings) as server, AsyncClient(server.grpc_address) as client:
            samples = await client.sample("toy", 50, seed=7, latents=True)
            as_bytes = [
                (await client.sample("toy", 5, seed=7, format="uint8")).images,
                (await client.decode("toy", samples.latents, format="uint8")).images,
                (await client.reconstruct("toy", samples.images, format="png")).images,
                (await client.interpolate("toy", 3, latents=samples.latents[:3], format="uint8")).images,
            ]
            encoded = await client.encode("toy", samples.images[:33])
            read = server.metrics.registry.get_sample_value
            labels = {"model": "toy", "graph": "decoder"}
            padding = read("vae_batch_padding_rows_total", labels)
            seconds = read("vae_gpu_seconds_total", labels | {"part": "computing"})
            return samples, encoded, as_bytes, padding, seconds

    plain, plain_encoded, plain_bytes, padding, seconds = await answers()
    assert (padding, seconds) == (0, None)
    monkeypatch.setattr(providers, "choose", lambda *_, **__: BOUND)
    bound, bound_encoded, bound_bytes, padding, seconds = await answers()
    np.testing.assert_array_equal(bound.latents, plain.latents)
    np.testing.assert_allclose(bound.images, plain.images, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bound_encoded.mean, plain_encoded.mean, rtol=0, atol=1e-5)
    for came, wanted in zip(bound_bytes, plain_bytes, strict=True):
        np.testing.assert_array_equal(came, wanted)
    assert padding == 14
    assert seconds > 0.0


async def test_a_gpu_that_is_lost_ends_the_server(monkeypatch, caplog):
    """It answers no batch any more, while its port is open and its health good: better that it is started anew. Only a
    look that fails counts, and what the driver said is in the log."""
    looks = iter([(1, 2), MemoryError("no memory to say it"), (1, 2)])
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)

    def memory():
        seen = next(looks, RuntimeError("NVIDIA's driver: cuMemGetInfo_v2 gave 700"))
        if isinstance(seen, Exception):
            raise seen
        return seen

    monkeypatch.setattr(lost_gpu.until_lost, "__defaults__", (0.0,))
    lost = []
    watching = asyncio.create_task(server._end_without(memory, lost))
    await ended.wait()
    await watching
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert lost == ["NVIDIA's driver: cuMemGetInfo_v2 gave 700"]
    assert f"the GPU cannot be used any more: {lost[0]}" in caplog.text
