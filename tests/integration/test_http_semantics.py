"""What HTTP itself wants of any server, whatever it serves: RFC 9110, 9112 and 9113."""

import time
from email.utils import parsedate_to_datetime

import pytest
from h2 import events

from serving.doors.http.transport.connection import Connection
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support.http_calls import SERVICE
from tests.support.raw_http import Raw, RawHttp2, post

pytestmark = pytest.mark.both_loops

PROTO = "content-type: application/proto"
SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()
MINUTE = 60.0


@pytest.fixture
def settings(settings):
    """Called by any name, and with nothing at /: those are for test_strangers_pages.py and the explorer's."""
    return settings.model_copy(update={"http_hosts": ("*",), "explorer": "off"})


@pytest.fixture
async def raw(server):
    async with await Raw.open(server) as made:
        yield made


@pytest.fixture
async def second(raw):
    made = RawHttp2(raw)
    await made.start()
    return made


@pytest.fixture
def hosts(monkeypatch):
    """What requests are taken to be for."""
    found = []
    start = Connection.start

    def watched(self, exchange):
        found.append(exchange.headers.get("host"))
        start(self, exchange)

    monkeypatch.setattr(Connection, "start", watched)
    return found


TARGETS = {
    "a path": (b"/v2/health/live", 200, "header"),
    "absolute": (b"http://there/v2/health/live", 200, "there"),
    "with a port and a query": (b"HTTPS://there:8080/v2/health/live?a=http://x/", 200, "there:8080"),
    "an address": (b"http://[::1]:80/v2/health/live", 200, "[::1]:80"),
    "no path": (b"http://there", 404, "there"),
    "no path but a query": (b"http://there?/v2/health/live", 404, "there"),
    "two slashes": (b"http://there//v2/health/live", 404, "there"),
    "a user": (b"http://user@there/v2/health/live", 404, "header"),
    "another scheme": (b"ftp://there/v2/health/live", 404, "header"),
    "within a path": (b"/http://there/v2/health/live", 404, "header"),
}


@pytest.mark.parametrize(("target", "status", "host"), TARGETS.values(), ids=TARGETS)
async def test_targets(raw, hosts, target, status, host):
    """One as it is said to a proxy is its path, and its host counts more than the header (RFC 9112, 3.2.2)."""
    await raw.send(b"GET " + target + b" HTTP/1.1\r\nhost: header\r\n\r\n")
    assert (await raw.answer())[0] == status
    assert hosts == [host]


async def test_two_hosts_are_refused_whatever_the_target_says(raw):
    """Which of them a proxy on the way has looked at cannot be told."""
    await raw.send(b"GET http://x/v2/health/live HTTP/1.1\r\nhost: localhost\r\nhost: y\r\n\r\n")
    assert (await raw.answer())[0] == 400


async def test_a_call_to_an_absolute_target(raw):
    """As curl sends it by a proxy."""
    await raw.send(post(f"http://x{SERVICE}Sample", SAMPLE, PROTO))
    assert (await raw.answer())[0] == 200


def is_now(date):
    return abs(parsedate_to_datetime(date).timestamp() - time.time()) < MINUTE


async def test_answers_say_when_they_were_made(server, second):
    """By either version; one without a call behind it too (RFC 9110, 6.6.1)."""
    for path, kind in ((SERVICE + "Sample", "application/proto"), ("/nothing", "text/plain")):
        await second.call(path, SAMPLE, kind)
        answer = await second.until(events.ResponseReceived)
        (date,) = [value for name, value in answer.headers if name == b"date"]
        assert is_now(date.decode())
    async with await Raw.open(server) as first:
        await first.send(post(SERVICE + "Sample", SAMPLE, PROTO))
        assert is_now((await first.answer())[1]["date"])


async def begin(second, **more):
    """A call whose body is still to come."""
    number = second.h2.get_next_available_stream_id()
    fields = {":method": "POST", ":path": SERVICE + "Sample", ":scheme": "http", ":authority": "x"}
    fields |= {"content-type": "application/proto", "expect": "100-continue", **more}
    second.h2.send_headers(number, list(fields.items()))
    await second.flush()
    return number


async def test_a_body_that_waits_to_be_asked_for_over_http2(second):
    """`expect: 100-continue` is answered when somebody reads, and once."""
    number = await begin(second)
    asked = await second.until(events.InformationalResponseReceived)
    assert dict(asked.headers)[b":status"] == b"100"
    second.h2.send_data(number, SAMPLE[:1])
    await second.flush()
    second.h2.send_data(number, SAMPLE[1:], end_stream=True)
    await second.flush()
    answer = await second.until(events.InformationalResponseReceived, events.ResponseReceived)
    assert dict(answer.headers)[b":status"] == b"200"


async def test_a_body_that_is_not_wanted_is_not_asked_for_over_http2(settings, tmp_path):
    """A call without the token is refused at once."""
    token = tmp_path / "token"
    token.write_text("secret")
    async with (
        running(settings.model_copy(update={"auth_token_file": token})) as server,
        await Raw.open(server) as raw,
    ):
        second = RawHttp2(raw)
        await second.start()
        await begin(second, **{"content-length": str(60 << 20)})
        answer = await second.until(events.InformationalResponseReceived, events.ResponseReceived)
        assert dict(answer.headers)[b":status"] == b"401"
