"""What the HTTP door refuses, with the status and the words that say what to mend."""

import base64
import gzip
import json

import httpx
import pytest

from serving.doors.http import codecs
from serving.pb.vae.v1 import vae_service_pb2 as pb
from tests.support import http_calls
from tests.support.http_calls import JSON, PROTO, SERVICE, envelope
from tests.support.patience import SECONDS
from tests.support.raw_http import Raw, post

SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()
DEEP = b'{"model":' * 50_000


@pytest.fixture
async def client(server):
    async with httpx.AsyncClient(
        base_url=http_calls.address(server), timeout=SECONDS, trust_env=False
    ) as made:
        yield made


@pytest.fixture(autouse=True)
async def _still_well(request, server):
    """Whatever was asked, the next call is answered, and nothing is in progress."""
    yield
    async with httpx.AsyncClient(base_url=http_calls.address(server), trust_env=False) as neighbour:
        assert (await http_calls.connect(neighbour, "Sample", SAMPLE)).status_code == 200


ADDRESSES = {
    "nothing there": ("POST", "/nothing", JSON, 404, "no such address: '/nothing'"),
    "no such method": ("POST", SERVICE + "Nope", JSON, 404, "no such address"),
    "control characters": ("POST", "/%00%0a", JSON, 404, "no such address: '/%00%0a'"),
    "GET": ("GET", SERVICE + "Sample", {}, 405, "want POST, came 'GET'"),
    "PUT": ("PUT", SERVICE + "Sample", JSON, 405, "want POST, came 'PUT'"),
    "text": ("POST", SERVICE + "Sample", {"content-type": "text/plain"}, 415, "came 'text/plain'"),
    "gRPC": ("POST", SERVICE + "Sample", {"content-type": "application/grpc"}, 415, "content-type: want"),
    "a stream by itself": ("POST", SERVICE + "SampleStream", JSON, 415, "content-type: want"),
    "a call in a stream": (
        "POST", SERVICE + "Sample", {"content-type": "application/connect+json"}, 415, "content-type: want",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "message"), ADDRESSES.values(), ids=ADDRESSES
)
async def test_what_is_not_offered(client, method, path, headers, status, message):
    """404, 405 with what is allowed, 415 with what is wanted; a message in JSON each time."""
    answer = await client.request(method, path, headers=headers, content=b"{}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert message in answer.json()["message"]
    if status == 405:
        assert answer.headers["allow"] == "POST"
    if status == 415:
        assert (
            "application/connect+json" in answer.headers["accept-post"]
            or "application/json" in (answer.headers["accept-post"])
        )


BAD_JSON = {
    "nothing": (b"", "want a JSON object"),
    "half": (b'{"count": 1', "line 1 column 12"),
    "a list": (b"[1]", "want a JSON object"),
    "an empty list": (b" []", "want a JSON object"),
    "null": (b"null", "want a JSON object"),
    "no such field": (b'{"cout": 1}', 'no field named "cout"'),
    "twice": (b'{"count": 1, "count": 2}', "duplicate key"),
    "a word for a number": (b'{"count": "many"}', "count"),
    "no such enum": (b'{"count": 1, "imageFormat": "JPEG"}', "imageFormat"),
    "not base64": (b'{"latents": 3}', "latents"),
    "4,000 digits": (b'{"count": ' + b"9" * 4000 + b"}", "count"),
    "5,000 digits": (b'{"count": ' + b"9" * 5000 + b"}", "want the JSON form"),
    "beyond float32": (b'{"count": 1, "temperature": 1e999}', "temperature"),
    "not UTF-8": (b'{"model": {"name": "\xff"}}', "want UTF-8, byte 20 is none"),
    "deep": (DEEP[:60_000], "parts of JSON"),
    "deep but small": (b'{"model":' * 4_000, "nested too deeply"),
    "many parts": (b'{"a": [' + b"1," * 1_000_000 + b"1]}", "parts of JSON"),
    "many bytes": (b'{"a": "' + b"x" * codecs.MOST_JSON_BYTES + b'"}', "bytes of JSON"),
}


@pytest.mark.parametrize(("body", "message"), BAD_JSON.values(), ids=BAD_JSON)
async def test_json_that_cannot_be_read(client, body, message):
    """400 with where or what; nothing of it takes long, and the message stays short."""
    answer = await http_calls.connect_json(client, "Sample", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), answer.text
    assert message in answer.json()["message"]
    assert len(answer.content) < 4096


HEADERS = {
    "gzip": (PROTO | {"content-encoding": "gzip"}, 501, "unimplemented", "content-encoding: want identity"),
    "timeout": (PROTO | {"connect-timeout-ms": "1e3"}, 400, "invalid_argument", "connect-timeout-ms: want"),
    "long timeout": (PROTO | {"connect-timeout-ms": "9" * 11}, 400, "invalid_argument", "connect-timeout-ms"),
    "version": (PROTO | {"connect-protocol-version": "2"}, 400, "invalid_argument", "want 1, came '2'"),
    "no time": (PROTO | {"connect-timeout-ms": "0"}, 504, "deadline_exceeded", "deadline"),
}


@pytest.mark.parametrize(("headers", "status", "code", "message"), HEADERS.values(), ids=HEADERS)
async def test_headers_that_cannot_be_heeded(server, client, headers, status, code, message):
    """The Connect protocol's code; each is counted by it."""
    content = gzip.compress(SAMPLE) if "content-encoding" in headers else SAMPLE
    answer = await client.post(SERVICE + "Sample", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert message in answer.json()["message"]
    assert server.metrics.calls_by_code() == {code.upper(): 1}


ENVELOPES = {
    "nothing": b"",
    "a piece": b"\0\0\0",
    "too short": envelope(b"abc")[:-1],
    "too long": envelope(b"abc") + b"d",
    "two": envelope(SAMPLE) * 2,
    "compressed": envelope(SAMPLE, 1),
    "an end": envelope(b"{}", 2),
    "a length of 4 GiB": b"\0\xff\xff\xff\xff",
}


@pytest.mark.parametrize("body", ENVELOPES.values(), ids=ENVELOPES)
async def test_envelopes_that_are_none(client, body):
    """Told in the end of the stream, or in gRPC-Web's trailers."""
    kind = {"content-type": "application/connect+proto"}
    answer = await client.post(SERVICE + "SampleStream", content=body, headers=kind)
    ((flags, last),) = http_calls.envelopes(answer.content)
    assert (answer.status_code, flags) == (200, 2)
    assert json.loads(last)["error"]["code"] == "invalid_argument"
    kind = {"content-type": "application/grpc-web"}
    answer = await client.post(SERVICE + "Sample", content=body, headers=kind)
    ((flags, last),) = http_calls.envelopes(answer.content)
    assert (answer.status_code, flags) == (200, 0x80)
    assert last.split(b"\r\n")[0] in (b"grpc-status: 3", b"grpc-status: 12")


async def test_text_that_is_no_base64(client):
    """gRPC-Web's text form."""
    kind = {"content-type": "application/grpc-web-text"}
    answer = await client.post(SERVICE + "Sample", content=b"!!!", headers=kind)
    ((flags, last),) = http_calls.envelopes(base64.b64decode(answer.content))
    assert (answer.status_code, flags) == (200, 0x80)
    assert last.startswith(b"grpc-status: 3\r\ngrpc-message: request: want base64")


QUERIES = {
    "no encoding": ({"message": "{}"}, "encoding: want proto or json, came ''"),
    "no message": ({"encoding": "json"}, "message: want the request in the address"),
    "no base64": ({"encoding": "json", "message": "!", "base64": "1"}, "message: want base64"),
    "no version of it": ({"encoding": "json", "message": "{}", "connect": "v2"}, "connect: want v1"),
    "no JSON": ({"encoding": "json", "message": "{"}, "want the JSON form of vae.v1.GetModelRequest"),
    "many": ({str(number): "x" for number in range(100)}, "query: want at most 16 fields"),
}


@pytest.mark.parametrize(("query", "message"), QUERIES.values(), ids=QUERIES)
async def test_addresses_that_ask_nothing(client, query, message):
    """A GET without a request in it."""
    answer = await client.get(SERVICE + "GetModel", params=query)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
    assert message in answer.json()["message"]


class TestLimits:
    """Of bytes."""

    @pytest.fixture
    def settings(self, settings):
        return settings.model_copy(update={"max_message_mib": 1})

    async def test_a_body_that_says_how_large_it_is(self, server):
        """413 before any of it was sent, and the connection ends."""
        async with await Raw.open(server) as raw:
            await raw.send(post(SERVICE + "Sample", b"", "content-type: application/proto", length=2 << 20))
            status, headers, body = await raw.answer()
            assert (status, headers["connection"]) == (413, "close")
            assert json.loads(body)["message"] == "request: want at most 1048576 bytes, there are more"
            assert await raw.rest() == b""

    async def test_a_body_that_does_not(self, server):
        """413 once there is more than may be; what the caller sends on is not kept."""
        async with await Raw.open(server) as raw:
            head = f"POST {SERVICE}Sample HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/proto\r\n"
            await raw.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
            piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
            for _ in range(32):
                await raw.send(piece)
            status, headers, _ = await raw.answer()
            assert (status, headers["connection"]) == (413, "close")

    async def test_the_largest_that_may_be(self, client):
        """Read whole, and refused for what is in it."""
        answer = await http_calls.connect(client, "Sample", b"\xff" * (1 << 20))
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument")
