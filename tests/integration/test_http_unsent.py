"""Answers that wait for their readers: what all of them together may hold, and whom that costs."""

import resource
from pathlib import Path

import pytest
from h2 import events

from serving.doors.http import door
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support import toy
from tests.support.http_calls import SERVICE, envelope, envelopes
from tests.support.patience import until
from tests.support.raw_http import Raw, RawHttp2, post

pytestmark = pytest.mark.both_loops

PROTO = "content-type: application/proto"
SAMPLE = pb.SampleRequest(count=300, seed=1).SerializeToString()
SIZE = 300 * 64 * 64 * 4
"""Of an answer, in bytes: more than a socket takes."""
MOST = 5 * SIZE + (1 << 20)
READERS = 40


@pytest.fixture
async def server(settings, tmp_path, monkeypatch):
    """One whose answers are large, and few of them may wait."""
    monkeypatch.setattr(door, "_UNSENT_BYTES", MOST)
    monkeypatch.setattr(door, "_UNSENT_MESSAGES", 0)
    toy.make_bundle(tmp_path / "large", image_shape=(1, 64, 64))
    async with running(settings.model_copy(update={"repository": tmp_path / "large"})) as started:
        yield started


def given_up(server):
    return server.metrics.registry.get_sample_value("vae_http_refused_total", {"reason": "unread"})


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def asked(server, version):
    """A connection whose answer is there, and which reads none of it."""
    answered = server.metrics.calls_by_code().get("OK", 0)
    raw = await Raw.open(server)
    if version == "HTTP/2":
        connection = RawHttp2(raw)
        await connection.start()
        await connection.call(SERVICE + "Sample", SAMPLE)
    else:
        await raw.send(post(SERVICE + "Sample", SAMPLE, PROTO))
    await until(lambda: server.metrics.calls_by_code().get("OK", 0) == answered + 1)
    return raw


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_many_who_read_nothing_hold_no_more_than_a_few(server, version):
    """The memory is that of as many answers as may wait; the newest of them can still be read."""
    readers = [await asked(server, version)]
    before = resident()
    readers += [await asked(server, version) for _ in range(READERS - 1)]
    await until(lambda: given_up(server) >= READERS - MOST // SIZE)
    assert resident() - before < READERS * SIZE // 2
    assert given_up(server) < READERS
    if version == "HTTP/1.1":
        assert len(await readers[0].rest()) < SIZE
        status, _, body = await readers[-1].answer()
        assert (status, len(pb.SampleResponse.FromString(body).images.tensor.data)) == (200, SIZE)
    for one in readers:
        one.writer.transport.abort()
    assert server.metrics.calls_by_code() == {"OK": READERS}


async def test_only_the_stream_that_is_not_read_is_given_up(server):
    """Over HTTP/2 the others of its connection go on."""
    async with await Raw.open(server) as raw:
        connection = RawHttp2(raw)
        await connection.start()
        number = await connection.call(SERVICE + "Sample", SAMPLE)
        await until(server.metrics.calls_by_code)
        others = [await asked(server, "HTTP/1.1") for _ in range(MOST // SIZE)]
        reset = await connection.until(events.StreamReset)
        assert reset.stream_id == number
        connection.h2.increment_flow_control_window(1 << 20)  # the connection's own
        await connection.call(SERVICE + "ListModels", b"")
        assert await connection.until(events.StreamEnded)
        for one in others:
            one.writer.transport.abort()


async def test_who_reads_slowly_goes_before_who_does_not_read(server):
    """It has the whole of its answer, though it was the first and others had to go."""
    async with await Raw.open(server) as slow:
        await slow.send(post(SERVICE + "Sample", SAMPLE, PROTO, "connection: close"))
        taken = await slow.reader.readexactly(1 << 19)
        others = []
        for _ in range(2 * MOST // SIZE):
            others.append(await asked(server, "HTTP/1.1"))
            taken += await slow.reader.readexactly(min(1 << 19, (SIZE - len(taken)) // 2))
        assert given_up(server)
        taken += await slow.rest()
        assert len(pb.SampleResponse.FromString(taken.partition(b"\r\n\r\n")[2]).images.tensor.data) == SIZE
        for one in others:
            one.writer.transport.abort()


async def test_a_message_that_was_begun_is_ended_first(server):
    """A deadline passes while one waits for its reader: what says so comes after it, not within it."""
    sample = pb.SampleStreamRequest(sample={"count": 10**7, "seed": 1}, rows_per_response=300)
    kind = "content-type: application/connect+proto"
    more = ("connect-timeout-ms: 1000", "connection: close")
    async with await Raw.open(server) as raw:
        await raw.send(post(SERVICE + "SampleStream", envelope(sample.SerializeToString()), kind, *more))
        await until(server.metrics.calls_by_code)
        assert server.metrics.calls_by_code() == {"DEADLINE_EXCEEDED": 1}
        body = _without_chunks((await raw.rest()).partition(b"\r\n\r\n")[2])
    *messages, (flags, last) = envelopes(body)
    assert {
        len(pb.SampleStreamResponse.FromString(message).images.tensor.data) for _, message in messages
    } == {SIZE}
    assert flags == 2
    assert b'"code": "deadline_exceeded"' in last


def _without_chunks(raw):
    body = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return body
