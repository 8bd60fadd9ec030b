"""The clients and ``vae-client`` against a whole server on a real socket."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient, Client, VaeError
from serving.client.__main__ import main
from serving.latent.noise import standard_normal
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1 import vae_service_pb2_grpc
from tests.support import patience, toy
from tests.support.process import serving

IMAGES = np.random.default_rng(3).random((25, *toy.IMAGE_SHAPE), np.float32)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A server in a process of its own that takes 10 rows a request."""
    repository = tmp_path_factory.mktemp("models")
    toy.make_bundle(repository, with_score=True, quantiles=np.linspace(10, 30, 101, dtype=np.float32))
    toy.make_bundle(repository, "colour", image_shape=(3, 8, 5))
    with serving(repository, "--max-rows", "10") as server:
        yield {"grpc": server.grpc_address, "http": f"http://{server.http_address}"}
        assert server.terminate() == 0


@pytest.fixture(params=["grpc", "http"])
def address(request, both):
    """Each of its doors: the client behaves the same."""
    return both[request.param]


@pytest.fixture
def client(address):
    with Client(address) as connected:
        yield connected


def test_sample(client):
    """More rows than a request may have are those of one seed; part of them is the same alone."""
    samples = client.sample("toy", 25, seed=7, latents=True)
    assert samples.images.shape == (25, *toy.IMAGE_SHAPE)
    assert (samples.seed, samples.model.name, samples.model.version) == (7, "toy", 1)
    np.testing.assert_allclose(samples.images, toy.decode(samples.latents), atol=1e-6)
    part = client.sample("toy", 8, seed=7, first_row=12, latents=True)
    np.testing.assert_array_equal(part.latents, samples.latents[12:20])
    unseeded = client.sample("toy", 25, latents=True)
    again = client.sample("toy", 25, seed=unseeded.seed, latents=True)
    np.testing.assert_array_equal(again.latents, unseeded.latents)


def test_sources_and_temperature(client):
    """Pools lie where they were put; a neighbourhood of no spread is its centre; temperature 0 is the mean."""
    pool = client.sample("toy", 10, pool="zero", seed=0, latents=True)
    assert pool.latents[:, 0].mean() > 2
    still = client.sample("toy", 10, pool="zero", temperature=0, latents=True)
    np.testing.assert_array_equal(still.latents, np.tile(np.float32([3, 0, 0]), (10, 1)))
    centre = np.float32([0.5, -1, 2])
    near = client.sample("toy", 3, near_latent=centre[None], spread=0, latents=True)
    np.testing.assert_array_equal(near.latents, np.tile(centre, (3, 1)))
    near = client.sample("toy", 3, near=IMAGES[:1], spread=0, latents=True)
    np.testing.assert_allclose(near.latents, np.tile(toy.encode(IMAGES[:1])[0], (3, 1)), atol=1e-6)


@pytest.mark.parametrize(("model", "channels"), [("toy", 1), ("colour", 3)])
def test_formats_agree(client, model, channels):
    """uint8 is the rounded float32, and PNG holds the same pixels, with the files beside them."""
    floats, pixels, png = (client.sample(model, 12, seed=1, format=f) for f in ("float32", "uint8", "png"))
    np.testing.assert_array_equal(pixels.images, np.rint(floats.images * 255).astype(np.uint8))
    np.testing.assert_array_equal(png.images, pixels.images)
    assert len(png.png) == 12
    assert floats.png == pixels.png == []
    assert png.images.shape[1] == channels


def test_encode_decode_reconstruct(client):
    """Posteriors, images and reconstructions are those of the model, from arrays as from PNG files."""
    posteriors = client.encode("toy", IMAGES, pool_probabilities=True)
    mean, log_var = toy.encode(IMAGES)
    np.testing.assert_allclose(posteriors.mean, mean, atol=1e-6)
    np.testing.assert_allclose(posteriors.log_var, log_var, atol=1e-6)
    np.testing.assert_allclose(posteriors.pool_probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (posteriors.pools, posteriors.latents, posteriors.seed) == (list(toy.POOLS), None, None)
    np.testing.assert_allclose(client.decode("toy", mean).images, toy.decode(mean), atol=1e-6)
    rebuilt = client.reconstruct("toy", IMAGES, latents=True)
    np.testing.assert_allclose(rebuilt.images, toy.decode(mean), atol=1e-6)
    np.testing.assert_allclose(rebuilt.latents, mean, atol=1e-6)
    png = client.sample("toy", 10, format="png")
    np.testing.assert_array_equal(client.encode("toy", png.png).mean, client.encode("toy", png.images).mean)


def test_posterior_samples(client):
    """They are seeded, and refused for more images than one request takes."""
    first = client.encode("toy", IMAGES[:10], latents=True)
    again = client.encode("toy", IMAGES[:10], latents=True, seed=first.seed)
    np.testing.assert_array_equal(first.latents, again.latents)
    split = client.encode("toy", IMAGES, latents=True, seed=first.seed)  # in three calls
    np.testing.assert_array_equal(split.latents[:10], first.latents)
    assert len(np.unique(split.latents - split.mean, axis=0)) == len(IMAGES), "noise was used twice"


def test_score(client):
    """In parts of the server's limit and in one call per image, the scores of one seed."""
    scores = client.score("toy", IMAGES, samples=5, seed=3)  # parts of 2 images
    assert (scores.samples, scores.seed, scores.model.name) == (5, 3, "toy")
    noise = standard_normal(3, 0, 25 * 5, toy.LATENTS).reshape(25, 5, -1)
    distortion, rate, _ = toy.score(IMAGES, noise)
    np.testing.assert_allclose(scores.distortion, distortion, atol=1e-3)
    np.testing.assert_allclose(scores.rate, rate, atol=1e-4)
    np.testing.assert_allclose(scores.nelbo, scores.distortion + scores.rate, atol=1e-4)
    assert scores.nll.mean() <= scores.nelbo.mean()
    assert ((scores.quantile >= 0) & (scores.quantile <= 1)).all()
    unseeded = client.score("toy", IMAGES)
    again = client.score("toy", IMAGES, seed=unseeded.seed)
    np.testing.assert_allclose(again.nll, unseeded.nll, atol=1e-4)
    with pytest.raises(VaeError, match=r"FAILED_PRECONDITION: model colour: .* no score graph") as refusal:
        client.score("colour", client.sample("colour", 1).images)
    assert refusal.value.reason == "NOT_OFFERED"


def test_sample_stream(client):
    """The rows of ``sample``, beyond one request's limit; arguments are checked at once; it can be left."""
    whole = client.sample("toy", 45, seed=6, latents=True)
    parts = list(client.sample_stream("toy", 45, seed=6, latents=True, rows_per_response=7))
    assert [part.first_row for part in parts] == list(range(0, 45, 7))
    np.testing.assert_array_equal(np.concatenate([part.latents for part in parts]), whole.latents)
    np.testing.assert_allclose(np.concatenate([part.images for part in parts]), whole.images, atol=1e-6)
    first = next(client.sample_stream("toy", 10**9, format="png"))
    assert len(first.png) == len(first.images) == 10
    with pytest.raises(ValueError, match="seed: want"):
        client.sample_stream("toy", 5, seed=-1)
    with pytest.raises(VaeError, match="NOT_FOUND"):
        next(client.sample_stream("none", 5))


def test_models(client):
    """The models and their facts, by name."""
    colour, model = client.models()
    assert (colour.name, colour.image_shape) == ("colour", (3, 8, 5))
    assert model == client.model("toy", version=1)
    assert (model.image_shape, model.latent_shape, model.value_range) == ((1, 4, 6), (3,), (0.0, 1.0))
    assert (model.max_rows, model.ready, model.created.year, model.dataset) == (10, True, 2026, "toy")
    assert [pool.name for pool in model.pools if not pool.aggregate] == list(toy.POOLS)
    assert model.metrics["nelbo"].standard_error == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        pytest.param(lambda c: c.sample("x", 1), "NOT_FOUND", "x", id="model"),
        pytest.param(lambda c: c.sample("toy", 1, version=9), "NOT_FOUND", "9", id="version"),
        pytest.param(lambda c: c.sample("toy", 5, pool="x"), "NOT_FOUND", "pool", id="pool"),
        pytest.param(lambda c: c.sample("toy", 0), "INVALID_ARGUMENT", "count: want 1 to 10", id="none"),
        pytest.param(lambda c: c.sample("toy", -4), "INVALID_ARGUMENT", "came -4", id="less than none"),
        pytest.param(lambda c: c.encode("toy", IMAGES[:, :, 1:]), "INVALID_ARGUMENT", "shape", id="shape"),
        pytest.param(lambda c: c.encode("toy", []), "INVALID_ARGUMENT", "came 0", id="no images"),
        pytest.param(lambda c: c.encode("toy", [b"x"]), "INVALID_ARGUMENT", "PNG", id="no PNG"),
    ],
)
def test_errors_are_the_servers(client, call, code, message):
    """The server's code, message and reason, as the one kind of error that the client raises."""
    with pytest.raises(VaeError, match=message) as caught:
        call(client)
    assert caught.value.code.name == code
    assert caught.value.reason
    assert caught.value.__cause__ is None


def test_threads_share_a_client(client):
    """Each of many threads gets the rows of its own seed."""
    wanted = {seed: client.sample("toy", 13, seed=seed, latents=True).latents for seed in range(8)}
    with ThreadPoolExecutor(8) as threads:
        seeds = [seed for seed in wanted for _ in range(4)]
        came = threads.map(lambda seed: client.sample("toy", 13, seed=seed, latents=True).latents, seeds)
    for seed, latents in zip(seeds, came, strict=True):
        np.testing.assert_array_equal(latents, wanted[seed])


async def test_async_client(address, client):
    """Many at once, each with its own answer, the same as the blocking client's."""
    async with AsyncClient(address) as asynchronous:
        answers = await asyncio.gather(*(asynchronous.sample("toy", 13, seed=seed) for seed in range(8)))
        assert [model.name for model in await asynchronous.models()] == ["colour", "toy"]
        with pytest.raises(VaeError, match="NOT_FOUND"):
            await asynchronous.encode("x", IMAGES)
    for seed, answer in enumerate(answers):
        np.testing.assert_allclose(answer.images, client.sample("toy", 13, seed=seed).images, atol=1e-6)


class Unsteady(vae_service_pb2_grpc.VaeServiceServicer):
    """Refuses the first calls as unavailable, then never answers."""

    def __init__(self, refusals):
        self.refusals = refusals
        self.calls = 0
        self.tokens = []
        self.released = threading.Event()

    def ListModels(self, request, context):
        self.calls += 1
        self.tokens.append(dict(context.invocation_metadata()).get("authorization"))
        if self.calls <= self.refusals:
            context.abort(grpc.StatusCode.UNAVAILABLE, "starting")
        return pb.ListModelsResponse()

    def GetModel(self, request, context):
        self.released.wait(patience.SECONDS)
        return pb.GetModelResponse()


@pytest.fixture
def unsteady():
    """The service and its port."""
    servicer = Unsteady(refusals=2)
    server = grpc.server(ThreadPoolExecutor(4))
    vae_service_pb2_grpc.add_VaeServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, port
    servicer.released.set()
    server.stop(None).wait()


def test_retries_and_token(unsteady):
    """UNAVAILABLE is tried again without the caller noticing; every try carries the token."""
    servicer, port = unsteady
    with Client(f"127.0.0.1:{port}", token="secret") as client:
        assert client.models() == []
    assert servicer.tokens == ["Bearer secret"] * 3


def test_deadline(unsteady):
    """A server that does not answer costs the deadline and no more."""
    _, port = unsteady
    with (
        Client(f"127.0.0.1:{port}") as client,
        pytest.raises(VaeError, match="DEADLINE_EXCEEDED"),
    ):
        client.with_timeout(0.2).model("toy")


def test_nobody_there():
    """The error says that the server cannot be reached, in one line."""
    with (
        Client("127.0.0.1:1", timeout_s=5) as client,
        pytest.raises(VaeError, match=r"^UNAVAILABLE: \S") as e,
    ):
        client.models()
    assert "\n" not in str(e.value)


def test_command_line(address, tmp_path, capsys, monkeypatch):
    """Sample, encode, decode, reconstruct, score and models, each from the file that the one before wrote."""
    monkeypatch.setenv("VAE_ADDRESS", address)
    grid = str(tmp_path / "grid.png")
    sampled, streamed, encoded, scored = (
        str(tmp_path / f"{name}.npz") for name in ("sampled", "streamed", "encoded", "scored")
    )
    toy_model = ["--model", "toy"]
    assert main(["sample", *toy_model, "--count", "64", "--seed", "7", "--out", grid]) == 0
    assert f"{grid}: 64 images, seed 7 from toy" in capsys.readouterr().out
    assert main(["sample", *toy_model, "--count", "12", "--pool", "one", "--out", sampled]) == 0
    assert main(["encode", *toy_model, sampled, "--out", encoded]) == 0
    assert main(["decode", *toy_model, encoded, "--out", str(tmp_path / "decoded.png")]) == 0
    assert main(["reconstruct", *toy_model, sampled, "--out", str(tmp_path / "pairs.png")]) == 0
    assert main(["sample", *toy_model, "--stream", "--count", "30", "--seed", "7", "--out", streamed]) == 0
    assert main(["score", *toy_model, sampled, "--samples", "3", "--out", scored]) == 0
    with np.load(scored) as arrays:
        assert arrays["quantile"].shape == arrays["nll"].shape == (12,)
        assert arrays["samples"] == 3
    with np.load(streamed) as arrays:
        assert arrays["latents"].shape == (30, toy.LATENTS)
    capsys.readouterr()
    assert main(["score", *toy_model, sampled]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["ROW", "NELBO", "DISTORTION", "RATE", "NLL", "QUANTILE"]
    assert len(table) == 13
    assert main(["models", "--json"]) == 0
    said = capsys.readouterr().out
    assert [model["name"] for model in json.loads(said[said.index("[") :])] == ["colour", "toy"]
    with np.load(encoded) as arrays:
        assert arrays["mean"].shape == (12, toy.LATENTS)
        assert arrays["pools"].tolist() == list(toy.POOLS)
    assert main(["models"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param(
            ["sample", "--out", "a.jpg"], 2, "want a file name that ends in .png or .npz", id="suffix"
        ),
        pytest.param(["sample"], 2, "--out", id="no out"),
        pytest.param(
            ["sample", "--model", "toy", "--seed", "-1", "--out", "a.png"], 2, "seed: want", id="seed"
        ),
        pytest.param(["sample", "--model", "x", "--out", "a.png"], 1, "NOT_FOUND: ", id="model"),
        pytest.param(["encode", "--model", "toy", "none.npz", "--out", "a.npz"], 2, "none.npz", id="no file"),
        pytest.param(
            ["models", "--address", "localhost:1", "--root-certificate", "none.pem"],
            2,
            "--root-certificate none.pem",
            id="pem",
        ),
        pytest.param(["models", "--address", "127.0.0.1:1"], 1, "UNAVAILABLE: ", id="nobody there"),
        pytest.param(["models", "--address", "http://127.0.0.1:1"], 1, "UNAVAILABLE: ", id="no HTTP there"),
        pytest.param(["models", "--address", "ftp://h"], 2, "address: want host:port", id="scheme"),
        pytest.param(["models", "--tls", "--address", "http://h"], 2, "want https://", id="no TLS"),
    ],
)
def test_command_line_errors(address, tmp_path, arguments, status, message):
    """Exit status 2 for the command line, 1 for the server, and one line on stderr that says why."""
    done = subprocess.run(
        [sys.executable, "-m", "serving.client", *arguments],
        cwd=tmp_path,
        env={"VAE_ADDRESS": address, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(address):
    """`vae-client models | head -0`: no traceback when the reader of the output is gone."""
    arguments = [sys.executable, "-m", "serving.client", "models", "--address", address]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.wait(timeout=patience.SECONDS), process.stderr.read()) == (0, "")


def test_interpolate(client):
    """The walk meets its points; images and latents need not be guessed at."""
    points = np.float32([[1, 0, 0], [0, 1, 0]])
    walk = client.interpolate("toy", 4, latents=points, spherical=True)
    np.testing.assert_allclose(walk.latents[[0, -1]], points, atol=1e-6)
    np.testing.assert_allclose(walk.images, toy.decode(walk.latents), atol=1e-6)
    with pytest.raises(ValueError, match="want one of them"):
        client.interpolate("toy", 4)
