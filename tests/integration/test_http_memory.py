"""What the HTTP door keeps of its callers: nothing that nobody will read, and nothing once they were answered."""

import gc

import pytest
from h2 import events

from serving.doors.http.transport.exchange import Exchange
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support.http_calls import SERVICE
from tests.support.patience import until
from tests.support.raw_http import Raw, RawHttp2, post

pytestmark = pytest.mark.both_loops

PROTO = "content-type: application/proto"
SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()


@pytest.fixture
def bodies(monkeypatch):
    """What handlers were given, and what is gone of it."""
    given, gone = [], []

    class Body(bytes):
        def __del__(self):
            gone.append(len(self))

    whole = Exchange.whole

    def watched(self, limit):
        body = whole(self, limit)
        if not body:
            return body
        given.append(len(body))
        return Body(body)

    monkeypatch.setattr(Exchange, "whole", watched)
    return given, gone


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("message", [SAMPLE, b"\xff" * 100])
async def test_a_body_is_gone_once_it_was_answered(server, bodies, version, message):
    """Without the collector, which seldom looks: 30 refused bodies of 60 MiB took 3.6 GiB."""
    gc.disable()
    try:
        async with await Raw.open(server) as raw:
            if version == "HTTP/2":
                second = RawHttp2(raw)
                await second.start()
                await second.call(SERVICE + "Sample", message)
                await second.until(events.StreamEnded)
            else:
                await raw.send(post(SERVICE + "Sample", message, PROTO))
                await raw.answer()
            given, gone = bodies
            await until(lambda: given and gone == given)
    finally:
        gc.enable()


async def test_a_body_that_nobody_wants_is_dropped(server):
    """Of a GET, which needs no token: what comes is not kept, and the connection ends."""
    async with await Raw.open(server) as raw:
        await raw.send(
            b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n"
        )
        assert (await raw.answer())[0] == 200
        assert await raw.rest() == b""
    async with await Raw.open(server) as raw:
        await raw.send(
            b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\ncontent-length: 400000\r\n\r\n"
            + bytes(400_000)
        )
        assert (await raw.answer())[0] == 200


async def test_what_comes_after_a_refusal_is_not_kept(settings, monkeypatch):
    """Once a body is larger than it may be, no more of it is."""
    kept, seen = [], set()
    feed = Exchange.feed

    def watched(self, data):
        feed(self, data)
        kept.append(len(self._buffer))
        seen.add(self)

    monkeypatch.setattr(Exchange, "feed", watched)
    async with (
        running(settings.model_copy(update={"max_message_mib": 1})) as server,
        await Raw.open(server) as raw,
    ):
        head = f"POST {SERVICE}Sample HTTP/1.1\r\nhost: localhost\r\n{PROTO}\r\ntransfer-encoding: chunked\r\n\r\n"
        await raw.send(head.encode())
        for _ in range(64):
            await raw.send(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        assert (await raw.answer())[0] == 413
    assert 1 << 20 < max(kept) < (1 << 20) + (1 << 19)
    assert [one._buffer for one in seen] == [b""]


async def test_a_trailer_without_end(server):
    """431 after some kilobytes, whatever is being answered."""
    async with await Raw.open(server) as raw:
        head = f"POST {SERVICE}Sample HTTP/1.1\r\nhost: localhost\r\n{PROTO}\r\ntransfer-encoding: chunked\r\n\r\n"
        await raw.send(head.encode() + b"1\r\n\x08\r\n0\r\na: ")
        for _ in range(100):
            try:
                await raw.send(b"b" * 10_000)
            except ConnectionError:
                break
        assert (await raw.rest()).startswith(b"HTTP/1.1 431")


async def test_bad_chunks_are_told(server):
    """400; the request before them has its answer first."""
    head = (
        f"POST {SERVICE}Sample HTTP/1.1\r\nhost: localhost\r\n{PROTO}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    async with await Raw.open(server) as raw:
        await raw.send(post(SERVICE + "Sample", SAMPLE, PROTO) + head.encode() + b"zz\r\n")
        answers = (await raw.rest()).split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"200", b"400"]


HOSTS = {
    "none": (b"GET /v2 HTTP/1.1\r\n\r\n", 400),
    "two": (b"GET /v2 HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "HTTP/1.0 without": (b"GET /v2 HTTP/1.0\r\n\r\n", 200),
}


@pytest.mark.parametrize(("said", "status"), HOSTS.values(), ids=HOSTS)
async def test_hosts(server, said, status):
    """RFC 9112, section 3.2."""
    async with await Raw.open(server) as raw:
        await raw.send(said)
        assert (await raw.answer())[0] == status


async def test_an_upgrade_that_is_not_offered(server):
    """The request is answered, and the connection said to end."""
    async with await Raw.open(server) as raw:
        await raw.send(b"GET /v2 HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        status, headers, _ = await raw.answer()
        assert (status, headers["connection"]) == (200, "close")


class TestHttp2:
    @pytest.fixture
    async def second(self, server):
        async with await Raw.open(server) as raw:
            made = RawHttp2(raw)
            await made.start()
            yield made

    async def test_the_connections_window_is_given_back(self, second):
        """Of bodies that came with their headers too: more than the window passes through."""
        body = pb.SampleRequest(count=1, seed=1, model={"name": "x" * 9_600}).SerializeToString()
        second.h2.increment_flow_control_window(1 << 24)  # for the answers
        for _ in range(150):
            await second.call(SERVICE + "Sample", body)
            assert await second.until(events.StreamEnded)

    async def test_more_calls_than_were_allowed_before_it_was_said(self, second):
        """A client that opens many at once before it has heard of the limit: all are answered."""
        numbers = {await second.call(SERVICE + "Sample", SAMPLE) for _ in range(50)}
        ended = set()
        while ended < numbers:
            event = await second.until(events.StreamEnded, events.StreamReset)
            assert isinstance(event, events.StreamEnded)
            ended.add(event.stream_id)

    async def test_frames_that_h2_makes_nothing_of(self, second):
        """Resets of streams that have ended are counted as well."""
        number = await second.call(SERVICE + "Sample", SAMPLE)
        await second.until(events.StreamEnded)
        frame = b"\x00\x00\x04\x03\x00" + number.to_bytes(4) + b"\x00\x00\x00\x08"
        await second.raw.send(frame * 500)
        ended = await second.until(events.ConnectionTerminated)
        assert ended is None or ended.error_code == 11

    async def test_a_client_that_says_goodbye(self, second):
        """It still gets the answer to what it has asked; then the connection ends."""
        number = await second.call(
            SERVICE + "Sample", pb.SampleRequest(count=300, seed=1).SerializeToString()
        )
        await second.raw.send(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(8))
        event = await second.until(events.StreamEnded)
        assert event.stream_id == number
        await second.until(events.ConnectionTerminated)
