"""Answers over HTTP/2, and those who read them: at leisure, for long, byte by byte."""

import pytest
from h2 import events
from h2.errors import ErrorCodes

from serving.pb.vae.v1 import vae_service_pb2 as pb
from tests.support.http_calls import SERVICE, envelope, envelopes
from tests.support.patience import until
from tests.support.raw_http import Raw, RawHttp2

pytestmark = pytest.mark.both_loops

STREAM = pb.SampleStreamRequest(sample=pb.SampleRequest(count=10**7, seed=1), rows_per_response=300)
WINDOW = 1000
"""Less than a message has."""
ENDED = {"model": "toy", "method": "SampleStream", "transport": "http", "code": "DEADLINE_EXCEEDED"}


@pytest.mark.parametrize(
    ("kind", "deadline", "last_flags", "says"),
    [
        ("application/connect+proto", {"connect_timeout_ms": "500"}, 2, b'"code": "deadline_exceeded"'),
        ("application/grpc-web+proto", {"grpc_timeout": "500m"}, 0x80, b"grpc-status: 4\r\n"),
    ],
)
async def test_a_message_that_was_begun_is_ended_first(server, kind, deadline, last_flags, says):
    """Over HTTP/2 a message waits for its reader. What says how the call ended comes after it, not within it."""
    async with await Raw.open(server) as raw:
        connection = RawHttp2(raw)
        await connection.start(window=WINDOW)
        message = envelope(STREAM.SerializeToString())
        number = await connection.call(f"{SERVICE}SampleStream", message, kind, **deadline)
        body = (await connection.until(events.DataReceived)).data
        assert len(body) == WINDOW
        await until(lambda: server.metrics.registry.get_sample_value("vae_requests_total", ENDED))
        connection.h2.increment_flow_control_window(1 << 20, number)
        await connection.flush()
        while isinstance(
            event := await connection.until(events.DataReceived, events.StreamEnded), events.DataReceived
        ):
            body += event.data
        assert event
        (first, response), (last, ending) = envelopes(body)
        assert (first, last) == (0, last_flags)
        assert len(pb.SampleStreamResponse.FromString(response).images.tensor.data) == 300 * 24 * 4
        assert says in ending


async def test_a_reader_may_say_for_ever_that_it_takes_more(server):
    """Of each piece of a long stream it does so twice, for the stream and for the connection, and stays."""
    async with await Raw.open(server) as raw:
        connection = RawHttp2(raw)
        await connection.start()
        message = envelope(STREAM.SerializeToString())
        number = await connection.call(f"{SERVICE}SampleStream", message, "application/connect+proto")
        for _ in range(1500):
            received = await connection.until(events.DataReceived, events.ConnectionTerminated)
            assert isinstance(received, events.DataReceived), received
            for of in (number, None):
                connection.h2.increment_flow_control_window(received.flow_controlled_length, of)
            await connection.flush()


async def test_a_reader_that_takes_a_byte_at_a_time_is_sent_away(server):
    """Each costs as much as a piece of 16 KiB does."""
    async with await Raw.open(server) as raw:
        connection = RawHttp2(raw)
        await connection.start(window=1)
        message = envelope(STREAM.SerializeToString())
        number = await connection.call(f"{SERVICE}SampleStream", message, "application/connect+proto")
        for _ in range(2000):
            received = await connection.until(events.DataReceived, events.ConnectionTerminated)
            if isinstance(received, events.ConnectionTerminated):
                break
            assert len(received.data) == 1
            connection.h2.increment_flow_control_window(1, number)
            await connection.flush()
        assert received.error_code == ErrorCodes.ENHANCE_YOUR_CALM
