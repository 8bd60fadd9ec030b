"""Callers over HTTP who are slow, rude or gone: each costs itself, and leaves nothing behind."""

import asyncio
import contextlib
import socket

import pytest
from h2 import events
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes

from serving.doors.http.transport import connection, http1, http2, listener, unsent
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support.http_calls import SERVICE, envelope
from tests.support.patience import until
from tests.support.raw_http import Raw, RawHttp2, post

pytestmark = pytest.mark.both_loops

PROTO = "content-type: application/proto"
SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()
ENDLESS = pb.SampleStreamRequest(sample={"count": 2**40, "seed": 1}).SerializeToString()
STREAM = "application/connect+proto"


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    """So that limits of seconds are found out at once."""
    monkeypatch.setattr(listener, "_LOOK_S", 0.01)


@pytest.fixture
async def raw(server):
    async with await Raw.open(server) as made:
        yield made


async def is_well(server):
    """A neighbour is answered."""
    async with await Raw.open(server) as neighbour:
        await neighbour.send(post(SERVICE + "Sample", SAMPLE, PROTO))
        assert (await neighbour.answer())[0] == 200


def cancelled(server):
    return server.metrics.calls_by_code().get("CANCELLED", 0)


def in_flight(server, method="SampleStream"):
    return server.metrics.registry.get_sample_value(
        "vae_inflight_requests", {"model": "toy", "method": method}
    )


async def nothing_is_left(server):
    """No call in progress, no row that waits, no task of a request."""
    await until(lambda: not in_flight(server) and not in_flight(server, "Sample"))
    for model in server.repository.models:
        assert {queue._queue.expected for queue in model._queues.values()} == {0}
    await until(lambda: not [task for task in asyncio.all_tasks() if "Connection._run" in repr(task)])


GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    "length and chunks": (
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a negative length": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
    "a length without end": b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: "
    + b"9" * 400
    + b"\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\nhost: localhost\r\na: b\r\n c\r\n\r\n",
    "a header without name": b"GET / HTTP/1.1\r\n: b\r\n\r\n",
    "nul": b"GET / HTTP/1.1\r\nhost: \0\r\n\r\n",
    "HTTP/9": b"GET / HTTP/9.9\r\n\r\n",
    "half a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_request_is_refused(server, raw, said):
    """400 and the end of the connection: where the next request would begin cannot be told."""
    await raw.send(said, post(SERVICE + "Sample", SAMPLE, PROTO))
    answer = await raw.rest()
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404")), answer
    assert answer.count(b"HTTP/1.1 ") <= 1 + answer.count(b"HTTP/1.1 404")
    await is_well(server)


HEADS = {
    "many headers": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    "a long header": b"GET / HTTP/1.1\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
    "a header without end": b"GET / HTTP/1.1\r\na: " + b"b" * 1_000_000,
    "an address without end": b"GET /" + b"a" * 1_000_000,
    "trailers without end": (
        b"POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
        + b"a: b\r\n" * 20_000
    ),
}


@pytest.mark.parametrize("said", HEADS.values(), ids=HEADS)
async def test_heads_are_bounded(server, raw, said):
    """431, whether the head ends or not."""
    for start in range(0, len(said), 10_000):
        try:
            await raw.send(said[start : start + 10_000])
        except ConnectionError:
            break
    answer = await raw.rest()
    assert answer[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 404", b""), answer[:200]
    await is_well(server)


async def test_who_says_nothing_is_sent_away(server, raw, monkeypatch):
    """Before a request, in the middle of its head, and between two of them."""
    monkeypatch.setattr(connection, "_IDLE_S", 0.05)
    monkeypatch.setattr(connection, "_HEAD_S", 0.05)
    assert await raw.rest() == b""
    async with await Raw.open(server) as slow:
        await slow.send(b"POST / HTTP/1.1\r\nhost")
        assert await slow.rest() == b""
    async with await Raw.open(server) as kept:
        await kept.send(post(SERVICE + "Sample", SAMPLE, PROTO))
        assert (await kept.answer())[0] == 200
        assert await kept.rest() == b""
    async with await Raw.open(server) as undecided:
        await undecided.send(b"PRI * HT")
        assert await undecided.rest() == b""


async def test_a_body_that_does_not_come(settings):
    """DEADLINE_EXCEEDED after `--request-s`, and what had come is let go."""
    async with running(settings.model_copy(update={"request_s": 0.1})) as server:
        async with await Raw.open(server) as raw:
            await raw.send(post(SERVICE + "Sample", b"a", PROTO, length=1000))
            status, headers, body = await raw.answer()
        assert (status, headers["connection"]) == (504, "close")
        assert b"want the whole message within 0.1 s" in body


async def test_bodies_without_a_token_are_not_read(settings, tmp_path):
    """Refused upon the headers alone; a body that was announced with `expect` is never asked for."""
    token = tmp_path / "token"
    token.write_text("secret")
    async with running(settings.model_copy(update={"auth_token_file": token})) as server:
        for more in ((), ("expect: 100-continue",)):
            async with await Raw.open(server) as raw:
                await raw.send(post(SERVICE + "Sample", b"", PROTO, *more, length=60 << 20))
                status, headers, _ = await raw.answer()
                assert (status, headers["connection"]) == (401, "close")
                assert await raw.rest() == b""


async def test_a_body_that_waits_to_be_asked_for(raw):
    """`expect: 100-continue` is answered when somebody reads."""
    await raw.send(post(SERVICE + "Sample", b"", PROTO, "expect: 100-continue", length=len(SAMPLE)))
    assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await raw.send(SAMPLE)
    assert (await raw.answer())[0] == 200


async def test_a_body_byte_by_byte(server, raw):
    """Pieces of any size make the same request."""
    await raw.send(post(SERVICE + "Sample", SAMPLE, PROTO))
    _, _, wanted = await raw.answer()
    for byte in post(SERVICE + "Sample", SAMPLE, PROTO):
        await raw.send(bytes([byte]))
    assert (await raw.answer())[2] == wanted
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in SAMPLE) + b"0\r\n\r\n"
    head = (
        f"POST {SERVICE}Sample HTTP/1.1\r\nhost: localhost\r\n{PROTO}\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    await raw.send(head.encode() + chunks)
    assert (await raw.answer())[2] == wanted


async def test_requests_one_behind_the_other(server, raw):
    """They are answered in order; more than may wait end the connection once those before are answered."""
    requests = [pb.SampleRequest(count=1, seed=seed).SerializeToString() for seed in range(20)]
    await raw.send(*[post(SERVICE + "Sample", request, PROTO) for request in requests])
    seeds = [pb.SampleResponse.FromString((await raw.answer())[2]).seed for _ in requests]
    assert seeds == list(range(20))
    await raw.send(post(SERVICE + "Sample", SAMPLE, PROTO) * 5000)
    answers = (await raw.rest()).count(b"HTTP/1.1 200")
    assert answers <= http1._MOST_WAITING + 1
    await is_well(server)


async def test_an_old_version_of_http(raw):
    """Answered, and closed, as HTTP/1.0 has it; a stream ends with the connection."""
    head = f"POST {SERVICE}SampleStream HTTP/1.0\r\ncontent-type: {STREAM}\r\n"
    body = envelope(pb.SampleStreamRequest(sample={"count": 3, "seed": 1}).SerializeToString())
    await raw.send(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"transfer-encoding" not in answer
    assert answer.endswith(envelope(b"{}", 2))


@pytest.mark.parametrize("leaves", ["closes", "half closes", "resets a stream"])
async def test_who_leaves_in_the_middle_of_a_stream(server, raw, leaves):
    """The call ends as CANCELLED and leaves nothing: no rows, no task."""
    if leaves == "resets a stream":
        connection_ = RawHttp2(raw)
        await connection_.start()
        number = await connection_.call(SERVICE + "SampleStream", envelope(ENDLESS), STREAM)
        await connection_.until(events.DataReceived)
        connection_.h2.reset_stream(number)
        await connection_.flush()
    else:
        body = envelope(ENDLESS)
        await raw.send(post(SERVICE + "SampleStream", body, f"content-type: {STREAM}"))
        await raw.reader.readexactly(10_000)
        if leaves == "closes":
            raw.writer.transport.abort()
        else:
            raw.writer.write_eof()
    await until(lambda: cancelled(server) == 1)
    await nothing_is_left(server)
    await is_well(server)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_who_leaves_while_rows_wait(server, raw, version, monkeypatch):
    """What waits for a batch is taken back."""
    (model,) = server.repository.models
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def held(*arguments, **options):
        begun.set()
        await go_on.wait()

    monkeypatch.setattr(type(model), "decode", held)
    if version == "HTTP/2":
        connection_ = RawHttp2(raw)
        await connection_.start()
        number = await connection_.call(SERVICE + "Sample", SAMPLE)
        await begun.wait()
        connection_.h2.reset_stream(number)
        await connection_.flush()
    else:
        await raw.send(post(SERVICE + "Sample", SAMPLE, PROTO))
        await begun.wait()
        raw.writer.close()
    await until(lambda: cancelled(server) == 1)
    await nothing_is_left(server)


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_a_stream_that_nobody_reads_is_held_back_and_cut(server, raw, version, monkeypatch):
    """The server draws no more than the reader takes; after a time the call ends as CANCELLED."""
    monkeypatch.setattr(unsent, "UNREAD_S", 0.3)
    raw.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    if version == "HTTP/2":
        connection_ = RawHttp2(raw)
        await connection_.start()
        await connection_.call(SERVICE + "SampleStream", envelope(ENDLESS), STREAM)
    else:
        await raw.send(post(SERVICE + "SampleStream", envelope(ENDLESS), f"content-type: {STREAM}"))
    await until(lambda: cancelled(server) == 1)
    drawn = server.metrics.registry.get_sample_value("vae_samples_total", {"model": "toy", "source": "prior"})
    assert drawn * 24 * 4 < 32 << 20  # what sockets hold, and not what a second could draw
    await nothing_is_left(server)


async def test_connections_are_bounded(settings):
    """One too many is closed at once; when another has left there is room again."""
    async with running(settings.model_copy(update={"max_connections": 3})) as server:
        kept = [await Raw.open(server) for _ in range(3)]
        for one in kept:
            await one.send(post(SERVICE + "Sample", SAMPLE, PROTO))
            assert (await one.answer())[0] == 200
        async with await Raw.open(server) as many:
            assert await many.rest() == b""
        kept[0].writer.close()

        async def has_room():
            async with await Raw.open(server) as another:
                await another.send(post(SERVICE + "Sample", SAMPLE, PROTO, "connection: close"))
                return (await another.rest()).startswith(b"HTTP/1.1 200")

        while not await has_room():
            pass
        for one in kept[1:]:
            one.writer.close()


class TestHttp2:
    """What only this version can be made to do."""

    @pytest.fixture
    async def second(self, raw):
        made = RawHttp2(raw)
        await made.start()
        return made

    async def test_streams_that_are_reset_at_once(self, server, second):
        """Rapid reset (CVE-2023-44487): the connection ends with ENHANCE_YOUR_CALM."""
        for _ in range(http2._IDLE_FRAMES // 10 + 2):
            number = await second.call(SERVICE + "Sample", SAMPLE, ends=False)
            second.h2.reset_stream(number)
            await second.flush()
            await asyncio.sleep(0)
        ended = await second.until(events.ConnectionTerminated)
        assert ended is None or ended.error_code == 11
        await nothing_is_left(server)
        await is_well(server)

    @pytest.mark.parametrize("kind", ["ping", "settings", "window", "empty data"])
    async def test_frames_that_ask_nothing(self, server, second, kind):
        """As many as anyone needs, and no more."""
        number = await second.call(SERVICE + "Sample", b"", ends=False)
        await second.until(events.RemoteSettingsChanged)
        for _ in range(http2._IDLE_FRAMES + 10):
            if kind == "ping":
                second.h2.ping(bytes(8))
            elif kind == "settings":
                second.h2.update_settings({SettingCodes.ENABLE_PUSH: 0})
            elif kind == "window":
                second.h2.increment_flow_control_window(1)
            else:
                second.h2.send_data(number, b"")
        await second.flush()
        ended = await second.until(events.ConnectionTerminated)
        assert ended is None or ended.error_code == 11
        await is_well(server)

    async def test_headers_are_bounded(self, server, second):
        """A list beyond the limit that was announced ends the connection."""
        number = second.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")]
        second.h2.send_headers(number, [*fields, *[(f"a{n}", "b" * 1000) for n in range(100)]])
        await second.flush()
        assert await second.until(events.ConnectionTerminated)
        await is_well(server)

    async def test_a_frame_larger_than_may_be(self, server, raw, second):
        """FRAME_SIZE_ERROR, before it has come."""
        await second.until(events.RemoteSettingsChanged)
        await raw.send(b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100_000))
        ended = await second.until(events.ConnectionTerminated)
        assert ended is None or ended.error_code == 6
        await is_well(server)

    async def test_many_calls_share_a_connection(self, second):
        """Their answers come as they are ready, each on its own stream."""
        await second.until(events.RemoteSettingsChanged)
        requests = {}
        for seed in range(8):
            message = pb.SampleRequest(count=100, seed=seed).SerializeToString()
            requests[await second.call(SERVICE + "Sample", message)] = seed
        bodies = dict.fromkeys(requests, b"")
        ended = set()
        while ended < set(requests):
            event = await second.until(events.DataReceived, events.StreamEnded)
            if isinstance(event, events.StreamEnded):
                ended.add(event.stream_id)
            else:
                bodies[event.stream_id] += event.data
                second.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        assert {pb.SampleResponse.FromString(bodies[n]).seed for n in requests} == set(requests.values())

    async def test_an_answer_waits_for_the_window(self, server, second):
        """A reader with a small window gets all of it, piece by piece."""
        second.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
        await second.flush()
        await second.call(SERVICE + "Sample", pb.SampleRequest(count=300, seed=1).SerializeToString())
        body = b""
        while not isinstance(
            event := await second.until(events.DataReceived, events.StreamEnded), events.StreamEnded
        ):
            assert len(event.data) <= 100
            body += event.data
            second.h2.increment_flow_control_window(event.flow_controlled_length)
            with contextlib.suppress(StreamClosedError):  # with the last piece
                second.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
            await second.flush()
        assert len(pb.SampleResponse.FromString(body).images.tensor.data) == 300 * 24 * 4
