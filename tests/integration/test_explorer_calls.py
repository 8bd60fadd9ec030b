"""What the explorer asks besides the API: metrics, and walks as GIF; as guarded and counted as every call."""

import asyncio
import gzip
import io
import json

import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from PIL import Image, ImageSequence

from serving.explorer import animation
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import http_calls, process, toy
from tests.support.http_calls import JSON
from tests.support.patience import SECONDS, until
from tests.support.raw_http import Raw, post

WALK, METRICS = "/explorer/walk.gif", "/explorer/metrics"
LATENTS = np.array([[0, 0, 0], [1, 1, 1], [-2, 0, 2]], np.float32)


def a_walk(latents=LATENTS, steps=4, **more):
    request = pb.InterpolateRequest(latents=from_array(latents), steps=steps)
    return json_format.MessageToDict(request) | more


@pytest.fixture
async def client(server):
    async with http_calls.client(server) as made:
        yield made


def frames_of(file: bytes) -> list[np.ndarray]:
    with Image.open(io.BytesIO(file)) as gif:
        return [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(gif)]


async def test_a_walk_is_what_interpolate_gives(server, client, stub):
    """Frame by frame, pixel by pixel, enlarged; counted as Interpolate by HTTP."""
    request = pb.InterpolateRequest(latents=from_array(LATENTS), steps=4, image_format="IMAGE_FORMAT_UINT8")
    tensor = (await stub.Interpolate(request)).images.tensor
    wanted = np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape)[:, 0]
    answer = await client.post(f"{WALK}?delay_ms=100&scale=2", json=a_walk(imageFormat="IMAGE_FORMAT_PNG"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    frames = frames_of(answer.content)
    assert len(frames) == len(wanted) == 9
    for frame, image in zip(frames, wanted, strict=True):
        np.testing.assert_array_equal(frame, image.repeat(2, axis=0).repeat(2, axis=1))
    back = await client.post(f"{WALK}?bounce=1", json=a_walk())
    assert len(frames_of(back.content)) == 16
    labels = {"model": "toy", "method": "Interpolate", "code": "OK"}
    counted = server.metrics.registry.get_sample_value
    assert counted("vae_requests_total", labels | {"transport": "http"}) == 2
    assert counted("vae_requests_total", labels | {"transport": "grpc"}) == 1
    assert counted("vae_inflight_requests", {"model": "toy", "method": "Interpolate"}) == 0


async def test_a_walk_between_images(client):
    """As Interpolate takes them."""
    images = np.random.default_rng(0).random((2, *toy.IMAGE_SHAPE), np.float32)
    request = pb.InterpolateRequest(images={"tensor": from_array(images)}, steps=3, path=2)
    answer = await client.post(WALK, json=json_format.MessageToDict(request))
    assert answer.status_code == 200, answer.text
    assert len(frames_of(answer.content)) == 4


BAD = {
    "no model": ("", a_walk(model={"name": "nïemand"}), 404, "not_found"),
    "no points": ("", {"steps": 3}, 400, "invalid_argument"),
    "one point": ("", a_walk(LATENTS[:1]), 400, "invalid_argument"),
    "no steps": ("", a_walk(steps=0), 400, "invalid_argument"),
    "other latents": ("", a_walk(np.zeros((2, 5), np.float32)), 400, "invalid_argument"),
    "no such path": ("", a_walk(path=9), 400, "invalid_argument"),
    "no such field": ("", {"cout": 1}, 400, "invalid_argument"),
}


@pytest.mark.parametrize(("query", "message", "status", "code"), BAD.values(), ids=BAD)
async def test_errors_are_those_of_interpolate(server, client, query, message, status, code):
    """The same status, the same words, the same details; counted as calls, and not once more as refused."""
    walk = await client.post(f"{WALK}{query}", json=message)
    plain = await http_calls.connect_json(client, "Interpolate", message)
    assert (walk.status_code, walk.json()["code"]) == (status, code), walk.text
    assert (walk.status_code, walk.content) == (plain.status_code, plain.content)
    assert http_calls.refusals(server) == {}


TOO_MUCH = {
    "steps": ("", a_walk(steps=100_000), "steps: want 1 to 599 in a GIF, came 100000"),
    "pixels": ("?scale=64", a_walk(steps=120), "steps: want at most 16777216 pixels in all frames of a GIF"),
    "a delay": ("?delay_ms=1", a_walk(), "delay_ms: want 20 to 10000, came '1'"),
    "a field": ("?loop=2", a_walk(), "query: want bounce, delay_ms or scale, came 'loop'"),
    "many fields": (f"?{'a=b&' * 2000}", a_walk(), "query: want at most 16 fields"),
}


@pytest.mark.parametrize(("query", "message", "words"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_what_is_bounded(server, client, query, message, words):
    """400 that says how much may be; counted, and the next is answered."""
    answer = await client.post(f"{WALK}{query}", json=message)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), answer.text
    assert words in answer.json()["message"]
    assert server.metrics.calls_by_code() == {"INVALID_ARGUMENT": 1}
    assert (await client.post(WALK, json=a_walk())).status_code == 200


async def test_forms_that_are_not_taken(client):
    """JSON alone, not packed, whole."""
    body = json.dumps(a_walk()).encode()
    for content, headers, status in (
        (body, {"content-type": "application/proto"}, 415),
        (body, {"content-type": "text/plain"}, 415),
        (gzip.compress(body), JSON | {"content-encoding": "gzip"}, 501),
        (b"", JSON, 400),
        (body[:-1], JSON, 400),
        (b'{"steps":' * 5_000, JSON, 400),
        (b'{"a": "' + b"x" * (9 << 20) + b'"}', JSON, 400),
    ):
        assert (await client.post(WALK, content=content, headers=headers)).status_code == status
    assert (await client.get(WALK)).status_code == 405
    assert (await client.post(WALK, content=body)).status_code == 200  # as curl -d


async def test_a_deadline_holds(server, client):
    """Over before it began."""
    answer = await client.post(WALK, json=a_walk(), headers={"connect-timeout-ms": "0"})
    assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
    assert server.metrics.calls_by_code() == {"DEADLINE_EXCEEDED": 1}


async def test_who_leaves_is_forgotten(server, client, monkeypatch):
    """In the middle of the pictures: CANCELLED, and nothing goes on for nobody."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    loop, real = asyncio.get_running_loop(), animation.frames_of
    made = []

    def slow(images, scale, palette):
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(SECONDS)
        made.append(len(images))
        return real(images, scale, palette)

    monkeypatch.setattr("serving.explorer.animation.frames_of", slow)
    message = json.dumps(a_walk(steps=50)).encode()
    async with await Raw.open(server) as raw:
        await raw.send(post(f"{WALK}?scale=64", message, "content-type: application/json"))
        await asyncio.wait_for(begun.wait(), SECONDS)
    await until(lambda: server.metrics.calls_by_code() == {"CANCELLED": 1})
    may_end.set()
    assert (await client.get("/v2/health/live")).status_code == 200
    monkeypatch.undo()
    assert (await client.post(WALK, json=a_walk())).status_code == 200
    assert sum(made) <= 101 // 2  # the piece during which the caller left


async def test_walks_that_wait_hold_no_images(server, client, stub, monkeypatch):
    """While two are made into pictures the others wait as latents: each may have 48 MB of images."""
    begun, may_end = [], asyncio.Event()
    loop, real = asyncio.get_running_loop(), animation.frames_of

    def slow(images, scale, palette):
        begun.append(len(images))
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(SECONDS)
        return real(images, scale, palette)

    def decoded() -> float:
        labels = {"model": "toy", "graph": "decoder"}
        return server.metrics.registry.get_sample_value("vae_batch_rows_sum", labels) or 0.0

    def waiting() -> float:
        return (
            server.metrics.registry.get_sample_value(
                "vae_inflight_requests", {"model": "toy", "method": "Interpolate"}
            )
            or 0.0
        )

    before = decoded()
    monkeypatch.setattr("serving.explorer.animation.frames_of", slow)
    walks = [asyncio.create_task(client.post(f"{WALK}?scale=64", json=a_walk())) for _ in range(6)]
    await until(lambda: begun and waiting() == 6)
    await stub.Interpolate(pb.InterpolateRequest(latents=from_array(LATENTS), steps=4))  # behind all of them
    assert decoded() - before == 3 * 9
    may_end.set()
    assert [(await walk).status_code for walk in walks] == [200] * 6


async def test_many_walks_at_once(settings):
    """As many calls as may be in progress; the others are told to come again."""
    async with (
        running(settings.model_copy(update={"max_calls": 1})) as server,
        httpx.AsyncClient(base_url=http_calls.address(server), timeout=SECONDS, trust_env=False) as client,
    ):
        answers = await asyncio.gather(*(client.post(WALK, json=a_walk()) for _ in range(20)))
    codes = {answer.status_code for answer in answers}
    assert 200 in codes
    assert codes <= {200, 429}
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)


async def test_metrics(server, client):
    """The text that Prometheus gets at its own address; to look at them moves none of the calls' own."""
    await client.post(WALK, json=a_walk())
    answer = await client.get(METRICS)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    line = 'vae_requests_total{code="OK",method="Interpolate",model="toy",transport="http"} 1.0'
    assert line in answer.text.splitlines()
    before = server.metrics.calls_by_code()
    answers = await asyncio.gather(*(client.get(METRICS) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert server.metrics.calls_by_code() == before


async def test_a_token_guards_all_but_the_page(settings, tmp_path):
    """401 that says how; the page itself is open, for it is what asks for the token."""
    token = tmp_path / "token"
    token.write_text("secret")
    async with (
        running(settings.model_copy(update={"auth_token_file": token})) as server,
        httpx.AsyncClient(base_url=http_calls.address(server), trust_env=False) as client,
    ):
        assert (await client.get("/")).status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            for answer in (
                await client.get(METRICS, headers=headers),
                await client.post(f"{WALK}?loop=2", json=a_walk(), headers=headers),
            ):
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
                assert answer.headers["www-authenticate"] == "Bearer"
        assert http_calls.refusals(server) == {"other": 3}  # of the metrics; no method counts those
        right = {"authorization": "Bearer secret"}
        assert (await client.get(METRICS, headers=right)).status_code == 200
        assert (await client.post(WALK, json=a_walk(), headers=right)).status_code == 200


def test_each_worker_shows_its_own(repository):
    """With several processes the metrics are of the one that answers, and say which it is."""
    with process.serving(repository, "--workers", "2") as server:
        text = httpx.get(f"http://{server.http_address}{METRICS}", trust_env=False, timeout=SECONDS).text
        assert (
            httpx.get(f"http://{server.http_address}/", trust_env=False, timeout=SECONDS).status_code == 200
        )
        assert server.terminate() == 0
    ready = [line for line in text.splitlines() if line.startswith("vae_model_ready{")]
    assert len(ready) == 1
    assert 'worker="' in ready[0]
