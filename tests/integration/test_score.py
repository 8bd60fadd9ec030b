"""Score, and sampling from a learned prior, on a real socket against results computed by hand."""

import asyncio
from contextlib import aclosing

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient
from serving.latent.noise import standard_normal
from serving.modalities.image import image_messages
from serving.models.first_run import BLOCK
from serving.models.scoring import DEFAULT_SAMPLES, MAX_SAMPLES
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import toy
from tests.support.patience import until

IMAGES = np.random.default_rng(3).random((23, *toy.IMAGE_SHAPE), np.float32)
NAMES = ("nelbo", "distortion", "rate", "nll", "quantile")
QUANTILES = np.linspace(10, 30, 101, dtype=np.float32)


@pytest.fixture
def repository(tmp_path):
    """A model that scores, one with a flow, and one without either."""
    toy.make_bundle(tmp_path, "scoring", with_score=True, quantiles=QUANTILES)
    toy.make_bundle(tmp_path, "flow", with_flow=True, with_score=True)
    toy.make_bundle(tmp_path, "plain")
    return tmp_path


def array(tensor):
    return np.frombuffer(tensor.data, np.float32).reshape(tuple(tensor.shape))


def request(images=IMAGES, *, model="scoring", **options):
    return pb.ScoreRequest(model={"name": model}, images={"tensor": from_array(images)}, **options)


def by_hand(images, samples, seed, first_row=0):
    """What the protos promise: sample j of image i has the noise of row (first_row + i)·samples + j."""
    rows = len(images) * samples
    noise = standard_normal(seed, first_row * samples, rows, toy.LATENTS).reshape(len(images), samples, -1)
    distortion, rate, log_weight = toy.score(images, noise)
    nll = np.log(samples) - np.logaddexp.reduce(log_weight, axis=1)
    return {"nelbo": distortion + rate, "distortion": distortion, "rate": rate, "nll": nll}


@pytest.mark.parametrize("samples", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 5, 3000])
async def test_scores_are_those_of_the_definition(stub, samples):
    """Whatever the number of samples, and however it is cut up: the figures to 1e-3 nats, nll at most nelbo."""
    images = IMAGES if samples < 100 else IMAGES[:3]
    answer = await stub.Score(request(images, samples=samples, seed=8, first_row=5))
    for name, wanted in by_hand(images, samples, seed=8, first_row=5).items():
        np.testing.assert_allclose(array(getattr(answer, name)), wanted, atol=1e-3, err_msg=name)
    assert (answer.samples, answer.seed, answer.model.name) == (samples, 8, "scoring")
    shares = np.interp(array(answer.nelbo), QUANTILES, np.linspace(0, 1, 101))
    np.testing.assert_allclose(array(answer.quantile), shares, atol=1e-6)


async def test_defaults(stub):
    """16 samples with a seed that is returned; no quantile where the bundle has none."""
    answer = await stub.Score(request(model="flow"))
    assert answer.samples == DEFAULT_SAMPLES
    wanted = by_hand(IMAGES, DEFAULT_SAMPLES, answer.seed)
    np.testing.assert_allclose(array(answer.nll), wanted["nll"], atol=1e-3)
    assert not answer.HasField("quantile")


async def test_a_score_is_the_same_alone_and_in_company(stub):
    """Alone, amid 40 others with other numbers of samples, and in two halves by first_row."""
    options = {"samples": 19, "seed": 2**64 - 1}
    alone = await stub.Score(request(**options))
    calls = [stub.Score(request(IMAGES[: 1 + i % 8], samples=1 + 2 * i, seed=i)) for i in range(40)]
    company = await stub.Score(request(**options))
    await asyncio.gather(*calls)
    halves = [
        await stub.Score(request(IMAGES[part], **options, first_row=part.start))
        for part in (slice(0, 9), slice(9, 23))
    ]
    for name in NAMES:
        wanted = array(getattr(alone, name))
        np.testing.assert_allclose(array(getattr(company, name)), wanted, atol=1e-4)
        together = np.concatenate([array(getattr(half, name)) for half in halves])
        np.testing.assert_allclose(together, wanted, atol=1e-4)


async def test_the_largest_request_starves_nobody(stub, server):
    """Single rows are answered while 230,000 samples are wanted, of which few wait; a cancelled one stops."""
    large = stub.Score(request(samples=MAX_SAMPLES))
    read = server.metrics.registry.get_sample_value
    labels = {"model": "scoring", "method": "Score"}
    await until(lambda: read("vae_inflight_requests", labels))
    for seed in range(5):
        await stub.Score(request(IMAGES[:1], samples=1, seed=seed))
        assert read("vae_queue_rows", {"model": "scoring", "graph": "score"}) * BLOCK <= 1024
    assert not large.done()
    large.cancel()
    await until(lambda: read("vae_inflight_requests", labels) == 0)
    assert read("vae_requests_total", labels | {"transport": "grpc", "code": "OK"}) == 5


async def test_what_cannot_be_done_in_time_is_refused_at_once(settings):
    """A job that takes twice as long as its caller waits, by what the graph is known to take, is not begun."""
    one_thread = settings.model_copy(update={"threads": 1})
    async with running(one_thread) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        stub = VaeServiceStub(channel)
        await stub.Score(request())
        model = next(model for model in server.repository.models if model.name == "scoring")
        images = np.repeat(IMAGES, 13, axis=0)
        expected_s = model._queues["score"]._cost.seconds(len(images) * MAX_SAMPLES // BLOCK)
        with pytest.raises(grpc.aio.AioRpcError, match="deadline is in") as refusal:
            await stub.Score(request(images, samples=MAX_SAMPLES), timeout=expected_s / 2)
    assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


BAD = {
    "no samples": ({"samples": 0}, "INVALID_ARGUMENT", "samples: want 1 to 10000, came 0"),
    "too many": ({"samples": 10_001}, "INVALID_ARGUMENT", "samples: want 1 to 10000, came 10001"),
    "first row": ({"first_row": -1}, "INVALID_ARGUMENT", "first_row: want 0"),
    "shape": ({"images": IMAGES[:, :, 1:]}, "INVALID_ARGUMENT", "images.tensor.shape: want"),
    "range": ({"images": IMAGES * 255}, "INVALID_ARGUMENT", "want values from 0 to 1"),
    "no score graph": ({"model": "plain"}, "FAILED_PRECONDITION", "plain: its bundle has no score graph"),
    "no model": ({"model": "none"}, "NOT_FOUND", "no model 'none'"),
}


@pytest.mark.parametrize(("options", "code", "message"), BAD.values(), ids=BAD)
async def test_bad_requests_are_refused(stub, options, code, message):
    """The code says whose fault it is, the message what to mend."""
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refusal:
        await stub.Score(request(**options))
    assert refusal.value.code().name == code


async def test_images_that_are_refused_were_not_read(settings, monkeypatch):
    """Of many requests at once those are read that the queue has room for."""
    read = []
    from_tensor = image_messages.from_tensor
    monkeypatch.setattr(image_messages, "from_tensor", lambda *a: read.append(1) or from_tensor(*a))
    monkeypatch.setattr("serving.host.background._SMALL", 0)  # beside the loop, where others come between
    update = {"max_queue_rows": 60, "max_batch_rows": 4, "reload_s": 0.0}
    async with running(settings.model_copy(update=update)) as server:
        async with AsyncClient(server.grpc_address) as client:
            answers = await asyncio.gather(
                *(client.score("scoring", IMAGES, samples=1, seed=1) for _ in range(40)),
                return_exceptions=True,
            )
        refusals = [answer for answer in answers if isinstance(answer, Exception)]
        assert {answer.code for answer in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(read) == len(answers) - len(refusals) > 0
        (model,) = [model for model in server.repository.models if model.name == "scoring"]
        assert {queue._queue.expected for queue in model._queues.values()} == {0}


async def test_samples_of_a_learned_prior(stub):
    """Sample and SampleStream draw noise·temperature and carry it through the prior; pools stay as they are."""
    noise = standard_normal(4, 0, 40, toy.LATENTS).astype(np.float32)
    asked = {"model": {"name": "flow"}, "count": 40, "seed": 4, "include_latents": True}
    for temperature in (1.0, 0.5):
        sample = pb.SampleRequest(**asked, temperature=temperature)
        answer = await stub.Sample(sample)
        np.testing.assert_allclose(array(answer.latents), toy.flow(temperature * noise), atol=1e-6)
        np.testing.assert_allclose(array(answer.images.tensor), toy.decode(array(answer.latents)), atol=1e-6)
        streamed = [part async for part in stub.SampleStream(pb.SampleStreamRequest(sample=sample))]
        np.testing.assert_allclose(array(streamed[0].latents), array(answer.latents), atol=1e-6)
    pool = await stub.Sample(pb.SampleRequest(**asked, pool="zero", temperature=0))
    np.testing.assert_array_equal(array(pool.latents), np.tile(np.float32([3, 0, 0]), (40, 1)))
    with pytest.raises(grpc.aio.AioRpcError, match="exceed float32"):
        await stub.Sample(pb.SampleRequest(**asked, temperature=1e38))


async def test_models_say_what_they_have(stub, server):
    """GetModel tells the prior and whether it scores; a learned prior has no KL to N(0, I) to show."""
    models = {model.model.name: model for model in (await stub.ListModels(pb.ListModelsRequest())).models}
    assert [models[name].prior for name in ("scoring", "flow")] == ["standard_normal", "flow"]
    assert [models[name].offers_score for name in ("scoring", "flow", "plain")] == [True, True, False]
    read = server.metrics.registry.get_sample_value
    many = np.resize(IMAGES, (120, *IMAGES.shape[1:]))
    for name in ("scoring", "flow"):
        await stub.Encode(pb.EncodeRequest(model={"name": name}, images={"tensor": from_array(many)}))
    assert read("vae_posterior_kl_nats", {"model": "scoring"}) > 0
    assert np.isnan(read("vae_posterior_kl_nats", {"model": "flow"}))
    assert read("vae_active_units", {"model": "flow"}) >= 0


async def test_async_client(server):
    """score, and sample_stream in a loop that is left early, as the blocking client has them."""
    async with AsyncClient(server.grpc_address) as client:
        scores = await client.score("scoring", IMAGES, samples=3, seed=1)
        np.testing.assert_allclose(scores.nelbo, by_hand(IMAGES, 3, seed=1)["nelbo"], atol=1e-3)
        whole = await client.sample("flow", 60, seed=9, latents=True)
        stream = client.sample_stream("flow", 10**9, seed=9, latents=True, rows_per_response=20)
        async with aclosing(stream) as parts:
            async for part in parts:
                rows = slice(part.first_row, part.first_row + 20)
                np.testing.assert_allclose(part.latents, whole.latents[rows], atol=1e-5)
                if rows.stop == 60:
                    break
