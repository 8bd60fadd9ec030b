"""Open Inference Protocol at the HTTP door: addresses, statuses, errors, and the same answers as over gRPC."""

import signal

import grpc
import httpx
import numpy as np
import pytest

from serving.oip.schema import SERVICE, message, request_of
from tests.support import http_calls, process, toy
from tests.support.patience import SECONDS, wait_until

DECODER = "/v2/models/toy/decoder"
LATENTS = np.random.default_rng(1).normal(size=(5, toy.LATENTS)).astype(np.float32)
HEADER = "inference-header-content-length"


def asked(rows=LATENTS, **more):
    return {
        "inputs": [{"name": "latent", "shape": list(rows.shape), "datatype": "FP32", "data": rows.tolist()}],
        **more,
    }


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
async def client(server, request):
    async with http_calls.client(server, request.param) as made:
        yield made


async def by_grpc(server, method, **fields):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{method}")
        raw = await call(request_of(method)(**fields).SerializeToString(), timeout=SECONDS)
    return message(f"{method}Response").FromString(raw)


async def test_the_same_floats_as_over_grpc(server, client):
    """As JSON and as bytes behind it, asked for in JSON and in bytes."""
    raw = LATENTS.tobytes()
    tensor = {"name": "latent", "shape": LATENTS.shape, "datatype": "FP32"}
    there = await by_grpc(
        server, "ModelInfer", model_name="toy/decoder", inputs=[tensor], raw_input_contents=[raw]
    )
    wanted = there.raw_output_contents[0]
    answer = await client.post(f"{DECODER}/infer", json=asked(id="7"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    (output,) = answer.json()["outputs"]
    assert np.array(output["data"], np.float32).tobytes() == wanted
    assert (answer.json()["id"], output["shape"]) == ("7", [5, *toy.IMAGE_SHAPE])

    answer = await client.post(
        f"{DECODER}/versions/1/infer", json=asked(parameters={"binary_data_output": True})
    )
    of_json = int(answer.headers[HEADER])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content[of_json:] == wanted

    head = (
        b'{"inputs":[{"name":"latent","shape":[5,3],"datatype":"FP32","parameters":{"binary_data_size":60}}]}'
    )
    answer = await client.post(f"{DECODER}/infer", content=head + raw, headers={HEADER: str(len(head))})
    (output,) = answer.json()["outputs"]
    assert np.array(output["data"], np.float32).tobytes() == wanted


async def test_what_is_told(server, client):
    """Of the server and its models, without and with a version; HEAD asks the same without the answer."""
    there = await by_grpc(server, "ServerMetadata")
    told = (await client.get("/v2")).json()
    assert (told["name"], told["version"]) == (there.name, there.version)
    assert (await client.get("/v2/health/live")).json() == {"live": True}
    assert (await client.get("/v2/health/ready")).json() == {"ready": True}
    for path in (DECODER, f"{DECODER}/versions/1", "/v2/models/toy%2Fdecoder"):
        found = (await client.get(path)).json()
        assert (found["name"], found["versions"]) == ("toy/decoder", ["1"])
        assert (await client.get(f"{path}/ready")).status_code == 200
    assert (await client.get(f"{DECODER}/config")).json()["max_batch_size"] == 300
    index = (await client.post("/v2/repository/index")).json()
    assert {entry["name"] for entry in index} >= {"toy/encoder", "toy/decoder", "toy/sampler"}
    await client.post(f"{DECODER}/infer", json=asked())
    (stats,) = (await client.get(f"{DECODER}/stats")).json()["model_stats"]
    assert stats["inference_count"] == 5
    head = await client.head(DECODER)
    assert (head.status_code, head.content) == (200, b"")


ERRORS = {
    "no such model": ("POST", "/v2/models/none/decoder/infer", asked(), 404, "no model 'none'"),
    "no such part": ("GET", "/v2/models/toy/nothing", None, 404, "no part 'nothing' of toy"),
    "no such version": ("GET", f"{DECODER}/versions/9", None, 404, "no version 9"),
    "no version": ("GET", f"{DECODER}/versions/x", None, 400, "model_version: want a positive integer"),
    "no such address": ("GET", "/v2/nothing", None, 404, "no such address: '/v2/nothing'"),
    "GET of infer": ("GET", f"{DECODER}/infer", None, 405, "want POST, came 'GET'"),
    "POST of metadata": ("POST", DECODER, {}, 405, "want GET, HEAD, came 'POST'"),
    "no inputs": ("POST", f"{DECODER}/infer", {}, 400, "inputs"),
    "wrong shape": ("POST", f"{DECODER}/infer", asked(LATENTS[:, :2]), 400, "inputs[latent].shape: want"),
    "a probe of none": ("GET", "/v2/models/none/decoder/ready", None, 503, None),
}


@pytest.mark.parametrize(("verb", "path", "body", "status", "text"), ERRORS.values(), ids=ERRORS)
async def test_errors_are_told_as_the_protocol_has_it(client, verb, path, body, status, text):
    """A status and `{"error": …}`, in the words of the other door."""
    answer = await client.request(verb, path, json=body)
    assert answer.status_code == status, answer.text
    if text:
        assert text in answer.json()["error"]
    assert set(answer.json()) in ({"error"}, {"name", "ready"})


HOSTILE = {
    "no JSON": ({}, b"{", 400, "want JSON"),
    "not a number": ({HEADER: "x"}, b"{}", 400, "inference-header-content-length"),
    "more than there is": ({HEADER: "99"}, b"{}", 400, "99"),
    "compressed": ({"content-encoding": "gzip"}, b"\x1f\x8b", 415, "content-encoding: want identity"),
    "text": ({"content-type": "text/plain"}, b"{}", 415, "content-type: want application/json"),
    "deep": ({}, b'{"inputs":' + b"[" * 100_000, 400, "in JSON, came"),
}


@pytest.mark.parametrize(("headers", "body", "status", "text"), HOSTILE.values(), ids=HOSTILE)
async def test_bodies_that_are_none(client, headers, body, status, text):
    """Refused with where, and the next request is answered."""
    answer = await client.post(f"{DECODER}/infer", content=body, headers=headers)
    assert (answer.status_code, set(answer.json())) == (status, {"error"}), answer.text
    assert text in answer.json()["error"]
    assert (await client.post(f"{DECODER}/infer", json=asked())).status_code == 200


def test_probes_need_no_token_and_hear_of_the_end(repository, tmp_path):
    """Everything else needs one. A server that drains says that it is not ready, by the status too."""
    token = tmp_path / "token"
    token.write_text("secret")
    with (
        process.serving(repository, "--auth-token-file", str(token), "--drain-s", "3600") as server,
        httpx.Client(base_url=http_calls.address(server), trust_env=False, timeout=SECONDS) as client,
    ):
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get(DECODER).status_code == 401
        assert client.get(DECODER, headers={"authorization": "Bearer secret"}).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/v2/health/ready").status_code == 503)
        assert client.get("/v2/health/ready").json() == {"ready": False}
        assert client.get("/v2/health/live").json() == {"live": True}
