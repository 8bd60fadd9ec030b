"""What comes to the HTTP door and reaches no method is counted, by a reason of ours; and who goes when it is full."""

import contextlib
import ssl

import pytest
import trustme
from h2 import events

from serving.doors.http.transport import connection, http2, listener
from serving.oip import rest_addresses
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support.http_calls import SERVICE, refusals
from tests.support.patience import until
from tests.support.raw_http import Raw, RawHttp2, post

pytestmark = pytest.mark.both_loops

PROTO = "content-type: application/proto"
SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture
async def raw(server):
    async with await Raw.open(server) as made:
        yield made


REQUESTS = {
    "no such address": (b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n", "not_found"),
    "no such method": (b"PUT /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n", "method_not_allowed"),
    "text": (post(SERVICE + "Sample", b"x", "content-type: text/plain"), "media_type"),
    "no host": (b"GET /v2 HTTP/1.1\r\n\r\n", "malformed"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "malformed"),
    "half a body": (
        post(SERVICE + "Sample", b"zz\r\n", PROTO, "transfer-encoding: chunked").replace(
            b"content-length: 4\r\n", b""
        ),
        "malformed",
    ),
    "a query without a form": (
        f"GET {SERVICE}GetModel?encoding=xml HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(),
        "malformed",
    ),
    "a query of many fields": (
        f"GET {SERVICE}GetModel?{'a=b&' * 100} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(),
        "malformed",
    ),
    "a long header": (b"GET / HTTP/1.1\r\na: " + b"b" * 40_000 + b"\r\n\r\n", "head_too_large"),
    "thousands at once": (post(SERVICE + "Sample", SAMPLE, PROTO) * 5000, "pipelined"),
}


@pytest.mark.parametrize(("said", "reason"), REQUESTS.values(), ids=REQUESTS)
async def test_requests_that_reach_no_method(server, raw, said, reason):
    """Once each, whatever they say; a call that reaches one is counted there."""
    await raw.send(LIVE)
    assert (await raw.answer())[0] == 200
    assert refusals(server) == {}
    await raw.send(said)
    await raw.answer()
    await until(lambda: refusals(server) == {reason: 1})


async def test_a_failure_of_ours(server, raw, monkeypatch, caplog):
    """Is counted as one, and the log says which."""

    def fail(path):
        raise RuntimeError("ours")

    monkeypatch.setattr(rest_addresses, "find", fail)
    await raw.send(LIVE)
    assert (await raw.answer())[0] == 500
    await until(lambda: refusals(server) == {"internal": 1})
    assert "ours" in caplog.text


FRAMES = {
    "data of no stream": (b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x", "malformed"),
    "a frame of 16 MiB": (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100_000), "malformed"),
    "pings": ((b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8)) * (http2._IDLE_FRAMES + 10), "flood"),
}


@pytest.mark.parametrize(("said", "reason"), FRAMES.values(), ids=FRAMES)
async def test_frames_that_make_no_request(server, raw, said, reason):
    """Of HTTP/2."""
    second = RawHttp2(raw)
    await second.start()
    await raw.send(said)
    await until(lambda: refusals(server) == {reason: 1})


async def test_headers_that_are_too_many(server, raw):
    """Of HTTP/2."""
    second = RawHttp2(raw)
    await second.start()
    fields = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")]
    second.h2.send_headers(1, [*fields, *[(f"a{n}", "b" * 1000) for n in range(100)]])
    await second.flush()
    await until(lambda: refusals(server) == {"head_too_large": 1})


async def test_a_head_that_does_not_come(server, monkeypatch):
    """Nothing, or half of one."""
    monkeypatch.setattr(listener, "_LOOK_S", 0.01)
    monkeypatch.setattr(connection, "_HEAD_S", 0.05)
    for said in (b"", b"POST / HTTP/1.1\r\nhost"):
        async with await Raw.open(server) as slow:
            await slow.send(said)
            assert await slow.rest() == b""
    assert refusals(server) == {"slow_head": 2}


async def is_answered(one):
    await one.send(post(SERVICE + "Sample", SAMPLE, PROTO))
    return (await one.answer())[0] == 200


@pytest.mark.parametrize(
    "said", [b"", b"PRI * HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST / HTTP/1.1\r\nhost"]
)
async def test_those_who_say_nothing_make_room_for_those_who_ask(settings, said):
    """The oldest of them goes. Who has been answered stays, and a full door of such takes no more."""
    async with running(settings.model_copy(update={"max_connections": 4})) as server:
        kept = await Raw.open(server)
        assert await is_answered(kept)
        silent = [await Raw.open(server) for _ in range(20)]
        for one in silent:
            with contextlib.suppress(ConnectionError):  # it is one of those that went
                await one.send(said)
        await until(lambda: refusals(server) == {"silent": 17})
        asking = []
        for _ in range(3):
            asking.append(await Raw.open(server))
            assert await is_answered(asking[-1])
        assert refusals(server) == {"silent": 20}
        async with await Raw.open(server) as another:
            assert await another.rest() == b""
        assert refusals(server) == {"silent": 20, "connections": 1}
        for one in (kept, *asking):
            assert await is_answered(one)
        for one in (kept, *asking, *silent):
            one.writer.transport.abort()


async def test_silence_before_a_handshake_makes_room(settings, tmp_path):
    """Of TLS: those who connect and say nothing keep nobody out."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    issued.private_key_pem.write_to_path(paths["tls_key"])
    issued.cert_chain_pems[0].write_to_path(paths["tls_certificate"])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with running(settings.model_copy(update=paths | {"max_connections": 2})) as server:
        silent = [await Raw.open(server) for _ in range(5)]
        asking = await Raw.open(server, context)
        assert await is_answered(asking)
        assert await is_answered(asking)
        await until(lambda: refusals(server) == {"silent": 4})
        for one in (*silent, asking):
            one.writer.transport.abort()


async def test_a_preface_alone_asks_for_nothing(settings):
    """A connection of HTTP/2 is in use from its first request on."""
    async with running(settings.model_copy(update={"max_connections": 1})) as server:
        async with await Raw.open(server) as first:
            used = RawHttp2(first)
            await used.start()
            await used.until(events.RemoteSettingsChanged)
            async with await Raw.open(server) as another:
                assert await is_answered(another)
            assert await used.until(events.StreamEnded) is None
        await until(lambda: refusals(server) == {"silent": 1})
