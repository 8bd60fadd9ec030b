"""One service behind two doors: what is asked the same way is answered with the same bytes."""

import asyncio
import base64
import urllib.parse

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from google.rpc import status_pb2

from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import http_calls, toy
from tests.support.http_calls import SERVICE
from tests.support.patience import SECONDS, until

FORMATS = (
    tensors_pb2.IMAGE_FORMAT_FLOAT32,
    tensors_pb2.IMAGE_FORMAT_UINT8,
    tensors_pb2.IMAGE_FORMAT_PNG,
)
IMAGES = {"tensor": from_array(np.random.default_rng(0).random((5, *toy.IMAGE_SHAPE), np.float32))}
LATENTS = from_array(np.random.default_rng(1).normal(size=(5, toy.LATENTS)).astype(np.float32))
NEIGHBOURHOOD = {"latent": from_array(np.zeros((1, toy.LATENTS), np.float32)), "spread": 0.5}

REQUESTS = {
    "list": pb.ListModelsRequest(),
    "get": pb.GetModelRequest(),
    "map": pb.GetLatentMapRequest(model={"name": "scoring"}),
    **{f"sample {form}": pb.SampleRequest(count=7, seed=3, image_format=form) for form in FORMATS},
    "sample pool": pb.SampleRequest(count=7, seed=3, pool="one", include_latents=True),
    "sample near": pb.SampleRequest(count=7, seed=3, neighbourhood=NEIGHBOURHOOD, first_row=2),
    "encode": pb.EncodeRequest(images=IMAGES, include_latents=True, seed=1, include_pool_probabilities=True),
    **{f"decode {form}": pb.DecodeRequest(latents=LATENTS, image_format=form) for form in FORMATS},
    **{f"reconstruct {form}": pb.ReconstructRequest(images=IMAGES, image_format=form) for form in FORMATS},
    "score": pb.ScoreRequest(model={"name": "scoring"}, images=IMAGES, seed=5, samples=3),
    "interpolate": pb.InterpolateRequest(
        latents=LATENTS, steps=4, path=pb.INTERPOLATION_PATH_SPHERICAL, image_format=FORMATS[2]
    ),
    "no such model": pb.GetModelRequest(model={"name": "é" * 100}),
    "no such pool": pb.SampleRequest(count=1, pool="x"),
    "count 0": pb.SampleRequest(count=0),
    "no score": pb.ScoreRequest(images=IMAGES, seed=5),
    "no filling of images": pb.ImputeRequest(),
    "no map": pb.GetLatentMapRequest(),
    "no images": pb.EncodeRequest(),
}


@pytest.fixture
def repository(tmp_path):
    """Two models; requests that name none are for the first, by the fixture below."""
    root = tmp_path / "models"
    toy.make_bundle(root)
    toy.make_bundle(root, name="scoring", with_score=True, projection=toy.projection())
    return root


def asked(request):
    """The same request, of the model "toy" if it names none."""
    if "model" in request.DESCRIPTOR.fields_by_name and not request.model.name:
        request = type(request).FromString(request.SerializeToString())
        request.model.name = "toy"
    return request


def method_of(request):
    return type(request).__name__.removesuffix("Request")


async def by_grpc(server, request):
    """The response's bytes, or the error's status."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary(SERVICE + method_of(request))
        try:
            return await call(request.SerializeToString(), timeout=SECONDS), None
        except grpc.aio.AioRpcError as error:
            return b"", status_pb2.Status.FromString(error.trailing_metadata()["grpc-status-details-bin"])


def error_of(status):
    """As the Connect protocol has it, without what is for people alone."""
    name = grpc.StatusCode[next(code.name for code in grpc.StatusCode if code.value[0] == status.code)].name
    details = [
        {"type": detail.TypeName(), "value": base64.b64encode(detail.value).rstrip(b"=").decode()}
        for detail in status.details
    ]
    return {"code": name.lower(), "message": status.message, "details": details}


def plain(error):
    return error | {"details": [{k: d[k] for k in ("type", "value")} for d in error["details"]]}


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
async def client(server, request):
    async with http_calls.client(server, request.param) as made:
        yield made


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_both_doors_give_the_same_bytes(server, client, request_):
    """Every method and format, errors and their details too: gRPC, Connect, its JSON form, and gRPC-Web."""
    message = asked(request_)
    wanted, status = await by_grpc(server, message)
    method, raw = method_of(message), message.SerializeToString()

    answer = await http_calls.connect(client, method, raw)
    text = await http_calls.connect_json(client, method, json_format.MessageToDict(message))
    assert answer.http_version == text.http_version
    if status is None:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/proto")
        assert answer.content == wanted
        parsed = getattr(pb, f"{method}Response")()
        json_format.Parse(text.text, parsed)
        assert parsed == type(parsed).FromString(wanted)
    else:
        for failed in (answer, text):
            assert failed.status_code in (400, 404)
            assert plain(failed.json()) == error_of(status)

    for as_text in (False, True):
        messages, trailers = await http_calls.grpc_web(client, method, raw, text=as_text)
        if status is None:
            assert (messages, trailers) == ([wanted], {"grpc-status": "0"})
        else:
            packed = trailers["grpc-status-details-bin"]
            assert base64.b64decode(packed + "=" * (-len(packed) % 4)) == status.SerializeToString()
            assert urllib.parse.unquote(trailers["grpc-message"]) == status.message
            assert (messages, trailers["grpc-status"]) == ([], str(status.code))


async def test_a_stream_gives_the_same_bytes(server, client):
    """Message by message; in JSON the same messages."""
    request = pb.SampleStreamRequest(
        sample={"model": {"name": "toy"}, "count": 10, "seed": 4}, rows_per_response=3
    )
    raw = request.SerializeToString()
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_stream(SERVICE + "SampleStream")
        wanted = [message async for message in call(raw, timeout=SECONDS)]
    assert len(wanted) == 4
    assert await http_calls.connect_stream(client, "SampleStream", raw) == (wanted, {})
    assert await http_calls.grpc_web(client, "SampleStream", raw) == (wanted, {"grpc-status": "0"})
    assert await http_calls.grpc_web(client, "SampleStream", raw, text=True) == (wanted, {"grpc-status": "0"})
    text = json_format.MessageToJson(request).encode()
    messages, last = await http_calls.connect_stream(client, "SampleStream", text, "json")
    parsed = [json_format.Parse(message, pb.SampleStreamResponse()) for message in messages]
    assert [message.SerializeToString() for message in parsed] == wanted
    assert last == {}


async def test_an_error_of_a_stream_is_told_in_its_end(client):
    """Also one of the first message: the status is 200 for every stream."""
    request = pb.SampleStreamRequest(sample={"model": {"name": "toy"}, "count": 0}).SerializeToString()
    messages, last = await http_calls.connect_stream(client, "SampleStream", request)
    assert messages == []
    assert last["error"]["code"] == "invalid_argument"
    assert last["error"]["message"].startswith("sample.count: want 1 to")
    assert (await http_calls.grpc_web(client, "SampleStream", request))[1]["grpc-status"] == "3"


@pytest.mark.parametrize("encoding", ["json", "proto"])
async def test_reads_by_get(server, client, encoding):
    """The request is in the address, as it is or in base64 for addresses; other methods are not offered so."""
    wanted, _ = await by_grpc(server, pb.GetModelRequest(model={"name": "toy"}))
    message = b'{"model": {"name": "toy"}}'
    if encoding == "proto":
        message = pb.GetModelRequest(model={"name": "toy"}).SerializeToString()
    coded = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
    query = {"connect": "v1", "encoding": encoding, "message": coded, "base64": "1"}
    answer = await client.get(SERVICE + "GetModel", params=query)
    assert answer.status_code == 200, answer.text
    if encoding == "proto":
        assert answer.content == wanted
    else:
        assert json_format.Parse(answer.text, pb.GetModelResponse()).SerializeToString() == wanted
        as_it_is = await client.get(
            SERVICE + "GetModel", params={"encoding": "json", "message": message.decode()}
        )
        assert as_it_is.json() == answer.json()
    assert (await client.get(SERVICE + "Sample", params=query)).status_code == 405


async def test_what_curl_says_of_its_data_is_read_as_json(client):
    """`curl -d` names the type of a form. A page can send that unasked, so it is not taken from pages."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    ask = {"url": SERVICE + "ListModels", "content": b"{}"}
    answer = await client.post(**ask, headers=form)
    assert [model["model"]["name"] for model in answer.json()["models"]] == ["scoring", "toy"]
    assert (await client.post(**ask, headers=form | {"origin": "https://example.org"})).status_code == 415


async def test_requests_are_counted_by_door(server, client):
    """The same series for both, told apart by a label."""
    read = server.metrics.registry.get_sample_value
    await by_grpc(server, pb.GetModelRequest(model={"name": "toy"}))
    await http_calls.connect(
        client, "GetModel", pb.GetModelRequest(model={"name": "toy"}).SerializeToString()
    )
    await http_calls.connect(client, "GetModel", b"\xff")
    labels = {"model": "toy", "method": "GetModel"}
    for door in ("grpc", "http"):
        assert read("vae_requests_total", labels | {"transport": door, "code": "OK"}) == 1
    bad = labels | {"model": "_unknown", "transport": "http", "code": "INVALID_ARGUMENT"}
    assert read("vae_requests_total", bad) == 1
    assert read("vae_request_duration_seconds_count", labels) == 2
    assert read("vae_inflight_requests", labels) == 0


async def test_a_token_is_wanted_at_both_doors(settings, tmp_path):
    """Before the body is read; the error says what is wanted."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    async with (
        running(settings.model_copy(update={"auth_token_file": token})) as server,
        httpx.AsyncClient(base_url=http_calls.address(server), trust_env=False) as client,
    ):
        refused = await http_calls.connect_json(client, "ListModels", {})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        assert refused.headers["www-authenticate"] == "Bearer"
        allowed = await http_calls.connect_json(client, "ListModels", {}, authorization="Bearer secret")
        assert allowed.status_code == 200
        assert allowed.json()["models"]


async def test_the_openapi_document_says_what_is_offered(client):
    """Each unary method with its JSON form: what it names is taken, and what comes is what it says."""
    found = (await client.get("/openapi.json")).json()
    assert found["openapi"] == "3.1.1"
    unary = {method for method in found["paths"] if method.startswith(SERVICE)}
    assert unary == {SERVICE + method_of(request) for request in REQUESTS.values()}
    schemas = found["components"]["schemas"]
    for request in REQUESTS.values():
        said = found["paths"][SERVICE + method_of(request)]["post"]
        for message, of in (
            (asked(request), said["requestBody"]),
            (getattr(pb, f"{method_of(request)}Response"), said["responses"]["200"]),
        ):
            name = of["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert set(schemas[name]["properties"]) == {f.json_name for f in message.DESCRIPTOR.fields}
    answer = await http_calls.connect_json(
        client, "Sample", {"model": {"name": "toy"}, "count": 1, "seed": "5"}
    )
    assert set(answer.json()) <= set(schemas["vae.v1.SampleResponse"]["properties"])


async def test_a_deadline_that_passes_is_counted_as_its_caller_is_told(server, client, monkeypatch):
    """DEADLINE_EXCEEDED, of the version too. A caller over gRPC may end the call itself, long before the server."""
    model = next(model for model in server.repository.models if model.name == "toy")

    async def held(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(type(model), "decode", held)
    decode = pb.DecodeRequest(model={"name": "toy"}, latents=LATENTS).SerializeToString()
    answer = await http_calls.connect(client, "Decode", decode, **{"connect-timeout-ms": "200"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    _, trailers = await http_calls.grpc_web(client, "Decode", decode, **{"grpc-timeout": "200m"})
    assert trailers["grpc-status"] == "4"
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await channel.unary_unary(SERVICE + "Decode")(decode, timeout=0.2)

    def counted(name, *codes, **labels):
        of = {"model": "toy", **labels}
        return sum(server.metrics.registry.get_sample_value(name, of | {"code": code}) or 0 for code in codes)

    by = {"method": "Decode", "transport": "http"}
    assert counted("vae_requests_total", "DEADLINE_EXCEEDED", **by) == 2
    either = ("DEADLINE_EXCEEDED", "CANCELLED")
    await until(lambda: counted("vae_requests_total", *either, **by | {"transport": "grpc"}) == 1)
    assert counted("vae_version_requests_total", "DEADLINE_EXCEEDED", version="1") >= 2
