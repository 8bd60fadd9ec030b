"""``GetLatentMap`` by both doors, the clients and the command line, against a whole server."""

import base64

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from safetensors.numpy import load, save

from serving.bundle import PROJECTION
from serving.client import AsyncClient, Client, LatentMap, ServedModel, VaeError
from serving.client.__main__ import main
from serving.pb.vae.v1 import vae_service_pb2 as pb
from tests.support import hostile, http_calls, toy
from tests.support.both_clients import Asyncio, Blocking
from tests.support.bundles import reseal
from tests.support.process import serving

MAP = toy.projection(40)


@pytest.fixture
def repository(tmp_path):
    """A model with a map, one with a plain one, and one with none."""
    root = tmp_path / "models"
    toy.make_bundle(root, projection=MAP)
    toy.make_bundle(root, "plain", projection=toy.projection(plain=True))
    toy.make_bundle(root, "none")
    return root


def request(name):
    return pb.GetLatentMapRequest(model={"name": name})


async def test_the_answer_is_the_sealed_map(stub):
    """What is written into the answer by hand is what the generated classes write."""
    answer = await stub.GetLatentMap(request("toy"))
    assert (answer.model.name, answer.model.version, len(answer.model.digest)) == ("toy", 1, 64)
    for name, wanted in (("points", MAP.points), ("latents", MAP.latents), ("quantile", MAP.quantile)):
        tensor = getattr(answer, name)
        assert tuple(tensor.shape) == wanted.shape
        assert tensor.data == wanted.tobytes()
    assert tuple(answer.labels) == MAP.labels
    assert list(answer.label_of) == MAP.label_of.tolist()
    assert list(answer.pool_of) == MAP.pool_of.tolist()
    plain = await stub.GetLatentMap(request("plain"))
    known = (plain.labels, plain.label_of, plain.pool_of)
    assert [list(of) for of in known] == [[], [], []]
    assert not plain.HasField("quantile")
    assert plain.points.shape[0] == 12


async def test_models_tell_whether_they_have_one(stub):
    """GetModel and ListModels, so that nobody has to try."""
    models = (await stub.ListModels(pb.ListModelsRequest())).models
    assert {model.model.name: model.offers_latent_map for model in models} == {
        "none": False,
        "plain": True,
        "toy": True,
    }


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        (
            "none",
            grpc.StatusCode.FAILED_PRECONDITION,
            "model none: its bundle has no map of its latent space",
        ),
        ("nobody", grpc.StatusCode.NOT_FOUND, "nobody"),
        ("", grpc.StatusCode.NOT_FOUND, "model.name: want a model name"),
    ],
)
async def test_what_has_no_map_says_so(stub, name, code, words):
    """The code, a line, and which file is missing."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetLatentMap(request(name))
    assert refused.value.code() == code
    assert words in refused.value.details()
    if name == "none":
        status = status_pb2.Status.FromString(refused.value.trailing_metadata()["grpc-status-details-bin"])
        missing = error_details_pb2.PreconditionFailure()
        assert status.details[1].Unpack(missing)
        assert [(found.type, found.subject) for found in missing.violations] == [("FILE", PROJECTION)]


async def test_a_page_reads_it_by_get_or_post(server):
    """As JSON: labels as text, indices as numbers, tensors in base64."""
    async with httpx.AsyncClient(base_url=http_calls.address(server), trust_env=False) as client:
        posted = await http_calls.connect_json(client, "GetLatentMap", {"model": {"name": "toy"}})
        query = {"encoding": "json", "message": '{"model":{"name":"toy"}}'}
        got = await client.get(http_calls.SERVICE + "GetLatentMap", params=query)
        refused = await http_calls.connect_json(client, "GetLatentMap", {"model": {"name": "none"}})
    assert (posted.status_code, got.status_code) == (200, 200)
    said = posted.json()
    assert said == got.json()
    assert said["labels"] == ["zéro", "one"]
    assert said["labelOf"] == MAP.label_of.tolist()
    assert said["points"]["shape"] == ["40", "2"]
    assert base64.b64decode(said["latents"]["data"]) == MAP.latents.tobytes()
    json_format.ParseDict(said, pb.GetLatentMapResponse())
    assert (refused.status_code, refused.json()["code"]) == (400, "failed_precondition")


async def test_a_hostile_map_leaves_the_version_before_in_service(server, repository, caplog):
    """By hot reload, in a process of its own: refused in a line, and the old map is still there."""
    version = hostile.copied(repository / "toy" / "1", 2)
    content = load((version / PROJECTION).read_bytes())
    reseal(version, PROJECTION, save(content | {"points": content["points"] * np.float32("nan")}))
    await server.repository.refresh()
    assert [model.version for model in server.repository.models if model.name == "toy"] == [1]
    assert (
        f"toy version 2 refused: {PROJECTION}: points: want finite values of at most 1e+18, came others"
        in caplog.text
    )
    async with AsyncClient(server.grpc_address) as client:
        reasons = [known.reason for known in await client.versions() if known.state == "refused"]
    assert reasons == [f"{PROJECTION}: points: want finite values of at most 1e+18, came others"]


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """A server in a process of its own, by its doors."""
    root = tmp_path_factory.mktemp("models")
    toy.make_bundle(root)
    toy.make_bundle(root, version=2, projection=MAP)
    with serving(root, "--versions", "all") as server:
        yield {"grpc": server.grpc_address, "http": f"http://{server.http_address}"}
        assert server.terminate() == 0


@pytest.fixture(params=["grpc", "http"])
def address(request, addresses):
    return addresses[request.param]


@pytest.mark.parametrize("way", [Blocking, Asyncio])
def test_both_clients_have_the_map(address, way):
    """Over gRPC and over HTTP: arrays, names, and whose map it is."""
    found = way.do(address, "latent_map", "toy")
    assert (found.model.name, found.model.version) == ("toy", 2)
    np.testing.assert_array_equal(found.points, MAP.points)
    np.testing.assert_array_equal(found.latents, MAP.latents)
    np.testing.assert_array_equal(found.label_of, MAP.label_of)
    np.testing.assert_array_equal(found.pool_of, MAP.pool_of)
    np.testing.assert_array_equal(found.quantile, MAP.quantile)
    assert found.labels == ["zéro", "one"]


def test_any_place_of_the_map_is_decoded(address):
    """A point is its own image; between two points lies an image of a latent between theirs."""
    with Client(address) as client:
        assert [client.model("toy", version=n).offers_latent_map for n in (1, 2)] == [False, True]
        found = client.latent_map("toy")
        places = np.concatenate([found.points[:3], found.points[3:6] + np.float32(0.01)])
        images = client.decode("toy", found.latents_at(places)).images
        with pytest.raises(VaeError, match="no map of its latent space") as refused:
            client.latent_map("toy", version=1)
    np.testing.assert_allclose(images[:3], toy.decode(MAP.latents[:3]), atol=1e-6)
    np.testing.assert_allclose(images[3:], toy.decode(MAP.latents[3:6]), atol=0.2)
    assert refused.value.code == grpc.StatusCode.FAILED_PRECONDITION


def test_the_command_writes_the_map(address, tmp_path, capsys, monkeypatch):
    """All that is known as .npz; its latents can be decoded as they are; without a map one line."""
    monkeypatch.setenv("VAE_ADDRESS", address)
    out = tmp_path / "map.npz"
    assert main(["map", "--model", "toy", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 40 points from toy\n"
    with np.load(out) as arrays:
        assert set(arrays) == {"points", "latents", "labels", "label_of", "pools", "pool_of", "quantile"}
        assert arrays["labels"].tolist() == ["zéro", "one"]
        assert arrays["pools"].tolist() == ["zero", "one", "aggregate"]
        np.testing.assert_array_equal(arrays["points"], MAP.points)
    assert main(["decode", "--model", "toy", str(out), "--out", str(tmp_path / "all.png")]) == 0
    capsys.readouterr()
    assert main(["map", "--model", "toy", "--version", "1", "--out", str(out)]) == 1
    assert "no map of its latent space" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["map", "--out", "map.png"])
    assert "want a file name that ends in .npz, came map.png" in capsys.readouterr().err


def latents_by_the_formula(found, place):
    """As the proto has it, point by point in Python's own numbers."""
    squares = [(sum((float(a) - float(b)) ** 2 for a, b in zip(point, place, strict=True)), i) for i, point in enumerate(found.points)]  # fmt: skip
    near = sorted(squares)[:8]
    if near[0][0] == 0:
        return found.latents[near[0][1]]
    weights = [1 / square for square, _ in near]
    rows = found.latents[[i for _, i in near]].astype(float)
    return (np.array(weights) @ rows) / sum(weights)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 600])
def test_places_are_weighted_by_inverse_distance(count):
    """Of maps of few points and many: the formula of the proto, whatever the number of places."""
    rng = np.random.default_rng(count)
    points, latents = (
        rng.normal(size=(count, 2)).astype(np.float32),
        rng.normal(size=(count, 5)).astype(np.float32),
    )
    points[-1] = points[0]  # two at one place
    found = LatentMap(ServedModel("toy", 1, ""), points, latents, [], None, None, None)
    places = np.concatenate(
        [rng.normal(size=(300, 2)), points[:1], points[:1] + np.float32(1e-30), [[1e9, 1e9]]]
    )
    came = found.latents_at(places)
    np.testing.assert_allclose(
        came, [latents_by_the_formula(found, place) for place in places], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_array_equal(came[300], latents[0])
    assert np.isfinite(came).all()
    assert found.latents_at(np.empty((0, 2))).shape == (0, 5)
    plane = LatentMap(ServedModel("toy", 1, ""), points, points, [], None, None, None)
    np.testing.assert_array_equal(plane.latents_at(places), places.astype(np.float32))
    with pytest.raises(ValueError, match=r"places: want \[M, 2\], came \[2\]"):
        found.latents_at(np.zeros(2))
