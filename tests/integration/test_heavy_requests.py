"""Requests whose work around the graphs is large: off the event loop, and the same to the bit."""

import threading

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient
from serving.host import background
from serving.latent import noise
from serving.modalities.image import image_messages
from serving.models import scoring
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from serving.wire import images
from tests.support import toy

IMAGES = np.random.default_rng(3).random((60, *toy.IMAGE_SHAPE), np.float32)


@pytest.fixture
def repository(tmp_path):
    toy.make_bundle(tmp_path / "models", with_score=True)
    return tmp_path / "models"


async def everything(client):
    """One answer of every kind of work that is done around the graphs."""
    answers = {
        "prior": (await client.sample("toy", 60, seed=1, latents=True)).latents,
        "pool": (await client.sample("toy", 60, seed=1, pool="one", latents=True)).latents,
        "near": (await client.sample("toy", 60, seed=1, near=IMAGES[:1], spread=0.3, latents=True)).latents,
        "uint8": (await client.decode("toy", np.ones((60, 3), np.float32), format="uint8")).images,
        "png": (await client.decode("toy", np.ones((60, 3), np.float32), format="png")).images,
        "walk": (await client.interpolate("toy", 3, images=IMAGES, spherical=True)).latents,
        "nll": (await client.score("toy", IMAGES, samples=20, seed=1)).nll,
    }
    posterior = await client.encode("toy", IMAGES, latents=True, seed=1, pool_probabilities=True)
    from_png = await client.encode("toy", answers["png"])
    return answers | {
        "mean": posterior.mean,
        "latents": posterior.latents,
        "probabilities": posterior.pool_probabilities,
        "from png": from_png.mean,
    }


def recorded(function, threads):
    def call(*arguments):
        threads.append(threading.current_thread())
        return function(*arguments)

    return call


async def test_answers_are_the_same_in_pieces(settings, monkeypatch):
    """Every method gives the same whether its work is done at once or in many small pieces on other threads; in
    pieces the loop's thread draws no noise and writes no file."""
    async with running(settings) as server, AsyncClient(server.grpc_address) as client:
        at_once = await everything(client)
        monkeypatch.setattr(background, "_SMALL", 0)
        monkeypatch.setattr(background, "_PIECE", 700)
        drawers, writers = [], []
        draw = noise.standard_normal

        def watched(*arguments):
            drawers.append(threading.current_thread())
            return draw(*arguments)

        for module in ("serving.api.sampling", "serving.models.scoring"):
            monkeypatch.setattr(f"{module}.standard_normal", watched)
        for module, name in ((images, "to_png"), (images, "to_uint8"), (image_messages, "from_files")):
            monkeypatch.setattr(module, name, recorded(getattr(module, name), writers))
        in_pieces = await everything(client)
    assert scoring.standard_normal is watched
    assert len(drawers) > 20
    assert threading.main_thread() not in drawers
    assert len(writers) > 30
    assert threading.main_thread() not in writers
    for name, wanted in at_once.items():
        exact = name not in ("nll", "probabilities")  # sums, whose order may differ with the batch
        compare = np.testing.assert_array_equal if exact else np.testing.assert_allclose
        compare(in_pieces[name], wanted, err_msg=name, **({} if exact else {"rtol": 1e-5}))


async def test_a_request_of_max_rows_fits_the_message_that_carries_it(tmp_path, settings):
    """What the server says it takes at once, it takes: rows and what a message carries beside them."""
    for number, shape in enumerate([(1, 64, 64), (1, 128, 128), (1, 256, 256), (3, 64, 64)]):
        toy.make_bundle(settings.repository, name=f"m{number}", image_shape=shape)
    chosen = settings.model_copy(update={"max_rows": 100_000, "max_message_mib": 2})
    async with running(chosen) as server, AsyncClient(server.grpc_address) as client:
        for number in range(4):
            model = await client.model(f"m{number}")
            rows = np.zeros((model.max_rows, *model.image_shape), np.float32)
            assert len((await client.encode(model.name, rows)).mean) == model.max_rows
            with pytest.raises(Exception, match=r"want 1 to|larger than max"):
                await raw_encode(server.grpc_address, model.name, np.concatenate([rows, rows[:1]]))


async def raw_encode(address, name, rows):
    from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
    from serving.wire.tensors import from_array

    async with grpc.aio.insecure_channel(address) as channel:
        request = pb.EncodeRequest(model={"name": name}, images={"tensor": from_array(rows)})
        await VaeServiceStub(channel).Encode(request)
