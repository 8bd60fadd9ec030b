"""The clients over HTTP before servers that answer oddly, late, in part or not at all."""

import asyncio
import json

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient, Client, VaeError
from serving.client.transports import retries
from tests.support import http_peer, patience
from tests.support.http_peer import (
    LAST,
    STREAM,
    answering,
    chunk,
    envelope,
    error,
    models,
    peer,
    reply,
    samples,
)

pytestmark = pytest.mark.usefixtures("no_pauses")


def refusal(calls, url, **options):
    with pytest.raises(VaeError) as caught:
        calls.do(url, "models", **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return caught.value


HTML = b"<html>\r\n<head><title>502 Bad Gateway</title></head>" + b"<p>\x1b[31m" * 1000
GARBAGE = bytes(range(256)) * 300


@pytest.mark.parametrize(
    ("raw", "code", "said"),
    [
        (reply("502 Bad Gateway", HTML, "content-type: text/html"), "UNAVAILABLE", "502 Bad Gateway with text/html"),
        (reply("503 Busy", b"no server", "content-type: text/plain"), "UNAVAILABLE", "no answer of vaeserve: no server"),
        (reply("504 x", b""), "UNAVAILABLE", "504 Gateway Timeout with no content-type"),
        (reply("429 x", b"slow down"), "UNAVAILABLE", "slow down"),
        (reply("301 Moved", b"", "location: https://h/x\x7f"), "UNKNOWN", "it points to https://h/x"),
        (reply("401 x", b'{"message": "key"}', "content-type: application/json"), "UNAUTHENTICATED", '"key"'),
        (reply("403 x", b""), "PERMISSION_DENIED", "403 Forbidden"),
        (reply("404 x", b"404 page not found"), "UNIMPLEMENTED", "404 page not found"),
        (reply("407 x", b"", "proxy-authenticate: Basic"), "UNKNOWN", "407 Proxy Authentication Required"),
        (reply("500 x", GARBAGE, "content-type: image/png"), "UNKNOWN", "500 Internal Server Error with image/png"),
        (reply("599 x", b"[" * 60_000), "UNKNOWN", ": 599 with no content-type"),
        (reply("200 OK", b"<html>", "content-type: text/html"), "UNKNOWN", "200 OK with text/html, which is no answer"),
        (reply("200 OK", b"{}", "content-type: application/json"), "UNKNOWN", "want application/proto"),
        (reply("204 No Content", b""), "UNKNOWN", "204 No Content"),
        (models("content-encoding: gzip"), "INTERNAL", "want no compression"),
        (reply("200 OK", b"\xff" * 9, "content-type: application/proto"), "INTERNAL", "no message of ListModels"),
        (b"HTTP/1.0 200 OK\r\ncontent-type: application/proto\r\nconnection: close\r\n\r\nx", "INTERNAL", "content-length"),
        (b"SSH-2.0-OpenSSH_9.2 connection: close\r\n", "UNKNOWN", "want a reply of HTTP/1.1, came something else"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_ours(calls, raw, code, said):
    """A proxy's page, another server, another protocol: the address, what came, and the code that gRPC has for it."""
    with answering(raw) as served:
        caught = refusal(calls, served.url)
    assert caught.code.name == code
    assert said in str(caught)
    assert served.url in str(caught)
    assert "\x1b" not in str(caught)
    assert len(served.heads) == (5 if code == "UNAVAILABLE" else 1)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        ({"code": "not_found", "message": "no\nmodel"}, "NOT_FOUND", "no model"),
        ({"code": "canceled"}, "CANCELLED", "no message"),
        ({"code": "ok", "message": "x"}, "UNKNOWN", "x"),
        ({"code": "???", "message": 3, "details": 4}, "UNKNOWN", "no message"),
        ({"code": "aborted", "details": [1, {}, {"type": 1}, {"type": "a.B", "value": "%"}]}, "ABORTED", "no message"),
        ({"code": "aborted", "details": [{"type": "google.rpc.ErrorInfo", "value": "//8"}]}, "ABORTED", "no message"),
    ],
)  # fmt: skip
def test_errors_of_the_protocol(calls, content, code, message):
    """However odd, code and message are told, and what cannot be read is left out."""
    with answering(error("418 x", json.dumps(content))) as served:
        caught = refusal(calls, served.url)
    assert (caught.code.name, caught.message, caught.details, caught.reason) == (code, message, (), None)


def test_a_busy_server_is_tried_again(calls):
    """UNAVAILABLE up to five times, each time with the token; what is not worth it is not."""
    busy = error("503 x", '{"code": "unavailable", "message": "starting"}')
    with answering(busy, b"", models()) as served:
        assert calls.do(served.url, "models", token="secret")[0].dataset == "of the peer"
    assert len(served.heads) == 3
    assert all("authorization: Bearer secret\r\n" in head for head in served.heads)
    with answering(busy) as served:
        assert str(refusal(calls, served.url)) == "UNAVAILABLE: starting"
    assert len(served.heads) == 5
    with answering(error("429 x", '{"code": "resource_exhausted", "message": "full"}')) as served:
        assert refusal(calls, served.url).code.name == "RESOURCE_EXHAUSTED"
    assert len(served.heads) == 1


def test_an_answer_that_is_cut_off(calls):
    """It is an error, and not sent again: the server has worked for it."""
    with answering(models("connection: close")[:-3]) as served:
        caught = refusal(calls, served.url)
    assert caught.code == grpc.StatusCode.UNAVAILABLE
    assert "closed before the end of the answer" in str(caught)
    assert len(served.heads) == 1


@pytest.mark.parametrize(
    ("raw", "rows", "code", "said"),
    [
        ([STREAM, samples(0), samples(1)], [0, 1], "UNAVAILABLE", "closed before the end"),
        ([STREAM, samples(0), samples(1)[:-9]], [0], "UNAVAILABLE", "closed before the end"),
        ([STREAM, samples(0), LAST], [0], "UNAVAILABLE", "the stream ended before its end"),
        ([STREAM, samples(0), chunk(envelope(b"x", 1))], [0], "INTERNAL", "not compressed"),
        ([STREAM, samples(0), chunk(b"\0\xff\xff\xff\xff")], [0], "INTERNAL", "messages of at most"),
        ([STREAM, samples(0), chunk(envelope(b"\xff\xff"))], [0], "INTERNAL", "no message of SampleStream"),
        ([STREAM, samples(0), chunk(envelope(b"<html>", 2))], [0], "INTERNAL", "want JSON"),
        ([STREAM, samples(0), chunk(envelope(b'{"error": {"code": "not_found"}}', 2)), LAST], [0], "NOT_FOUND", ""),
        ([STREAM, chunk(envelope(b'{"error": 1}', 2)), LAST], [], "UNKNOWN", "no message"),
        ([models("connection: close")], [], "UNKNOWN", r"want application/connect\+proto"),
        ([STREAM, samples(0), samples(1), chunk(envelope(b"{}", 2)), LAST], [0, 1], None, ""),
    ],
)  # fmt: skip
def test_streams_that_end_somehow(calls, raw, rows, code, said):
    """What came before is given; then the stream says how it ended, and only its own last word is a good end."""

    def converse(conversation):
        if conversation.request():
            conversation.say(*raw)

    with peer(converse) as served:
        came, ended = calls.rows(served.url)
    assert came == rows
    assert (ended.code.name if ended else None) == code
    if said:
        with pytest.raises(VaeError, match=said):
            raise ended


def test_a_stream_that_was_refused_is_tried_again_until_it_has_begun(calls):
    """As over gRPC: before the first response, and never after it."""
    busy = STREAM + chunk(envelope(b'{"error": {"code": "unavailable", "message": "stopping"}}', 2)) + LAST
    whole = STREAM + samples(0) + chunk(envelope(b"{}", 2)) + LAST
    with answering(busy, whole) as served:
        assert calls.rows(served.url) == ([0], None)
    assert len(served.conversations) == 1, "a stream that was read to its end keeps the connection"
    with answering(STREAM + samples(0) + busy.removeprefix(STREAM)) as served:
        rows, ended = calls.rows(served.url)
    assert (rows, str(ended), len(served.heads)) == ([0], "UNAVAILABLE: stopping", 1)


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n", models()[:-1]])
def test_a_server_that_is_too_slow(calls, begins):
    """The deadline is of the whole call, however it dribbles; the connection is given up, which ends the call there."""
    left = []

    def converse(conversation):
        conversation.request()
        conversation.say(begins)
        conversation.until_closed()
        left.append(True)

    with peer(converse) as served:
        caught = refusal(calls, served.url, timeout_s=0.3)
    assert str(caught) == "DEADLINE_EXCEEDED: no answer came for 0.3 s"
    assert left == [True] * len(served.conversations)


def test_a_stream_that_brings_nothing(calls):
    """Each response has the client's deadline."""

    def converse(conversation):
        conversation.request()
        conversation.say(STREAM, samples(0))
        conversation.until_closed()

    with peer(converse) as served:
        rows, ended = calls.rows(served.url, timeout_s=0.3)
    assert (rows, str(ended)) == ([0], "DEADLINE_EXCEEDED: no response came for 0.3 s")


def test_a_server_that_reads_nothing(calls):
    """A request that does not fit into the network costs its deadline and no more."""

    def converse(conversation):
        conversation.head()
        patience.wait_until(lambda: done)

    done = []
    with peer(converse) as served:
        images = np.zeros((1, 1, 4096, 4096), np.uint8)
        with pytest.raises(VaeError, match="DEADLINE_EXCEEDED"):
            calls.do(served.url, "encode", "m", images, timeout_s=0.5)
        done.append(True)


def test_an_answer_before_the_request_is_whole(calls):
    """A server may refuse without reading; whoever still sends is told all the same, and does not use it again."""

    def converse(conversation):
        conversation.head()
        conversation.say(error("401 x", '{"code": "unauthenticated", "message": "token"}'))
        answered.append(True)
        patience.wait_until(lambda: done)

    answered, done = [], []
    with peer(converse) as served:
        images = np.zeros((1, 1, 4096, 4096), np.uint8)
        with pytest.raises(VaeError, match="UNAUTHENTICATED: token"):
            calls.do(served.url, "encode", "m", images)
        done.append(True)
    assert answered == [True]


def test_a_connection_that_ended_while_idle(calls, monkeypatch):
    """No call notices: a connection that the server closed is not used, and one it closes just then is no attempt."""

    def converse(conversation):
        conversation.request()
        conversation.say(models())
        if closes_at_once:
            closed.append(True)
        else:
            conversation.request()  # and no answer

    monkeypatch.setattr(retries, "MOST_ATTEMPTS", 1)
    closes_at_once, closed = False, []
    with peer(converse) as served:
        assert calls.twice(served.url)
    assert len(served.conversations) == 2
    closes_at_once = True
    with peer(converse) as served:
        assert calls.twice(served.url, between=lambda: patience.wait_until(lambda: closed))
    assert len(served.conversations) == 2


def test_what_was_not_asked_for_is_nobodys_answer(calls):
    """A server that says more than one reply to a request is not believed the next."""
    with answering(models() + models("x: stray"), models()) as served:
        assert calls.twice(served.url)
    assert len(served.conversations) == 2

    def converse(conversation):
        while conversation.request():
            conversation.say(models())
            if conversation.number == 0:
                patience.wait_until(lambda: read)
                conversation.say(error("500 x", '{"code": "internal", "message": "stray"}'))
                strays.append(True)

    def between():
        read.append(True)
        patience.wait_until(lambda: strays)

    read, strays = [], []
    with peer(converse) as served:
        assert calls.twice(served.url, between=between)
    assert len(served.conversations) == 2


def test_a_connection_is_used_again(calls):
    """Calls one after the other need one connection, unless the server ends it."""
    with answering(models()) as served:
        calls.twice(served.url)
    assert len(served.conversations) == 1
    with answering(models("connection: close")) as served:
        calls.twice(served.url)
    assert len(served.conversations) == 2


def forgetful(conversation):
    """Two connections that bring nothing any more once they have been used, as a gateway leaves them."""
    while request := conversation.request():
        if "/SampleStream " in request[0]:
            conversation.say(STREAM, samples(0), chunk(envelope(b"{}", 2)), LAST)
        else:
            conversation.say(models())
        if conversation.number < 2:
            conversation.until_closed()


def test_one_dead_connection_tells_of_the_others():
    """A path that was lost costs one call its deadline, not one call for each connection that waited."""
    with peer(forgetful) as served, Client(served.url) as client:
        stream = client.sample_stream("m", 1, format="uint8")
        next(stream)
        client.models()
        assert not list(stream)
        with pytest.raises(VaeError, match="DEADLINE_EXCEEDED"):
            client.with_timeout(0.3).models()
        assert client.models()
    assert len(served.conversations) == 3


async def test_one_dead_connection_tells_of_the_others_in_asyncio():
    """The same."""
    with peer(forgetful) as served:
        async with AsyncClient(served.url) as client:
            stream = client.sample_stream("m", 1, format="uint8")
            await anext(stream)
            await client.models()
            assert not [part async for part in stream]
            with pytest.raises(VaeError, match="DEADLINE_EXCEEDED"):
                await client.with_timeout(0.3).models()
            assert await client.models()
    assert len(served.conversations) == 3


async def test_a_slow_reader_holds_the_server_up():
    """What has not been read stays with the server: the client's memory is bounded."""

    def converse(conversation):
        conversation.request()
        conversation.say(STREAM, *(samples(row, 1 << 20) for row in range(200)))

    with peer(converse) as served:
        async with AsyncClient(served.url) as client:
            stream = client.sample_stream("m", 200, format="uint8")
            await anext(stream)
            before = -1
            while served.conversations[0].sent > before:
                before = served.conversations[0].sent
                await asyncio.sleep(0.3)  # time itself is tried: in which an eager reader would take more
            assert before < 100 << 20
            await stream.aclose()


def test_what_the_requests_say(calls):
    """Version, type, deadline, no compression; a path of the address stands before the method's."""
    with answering(models()) as served:
        calls.do(f"{served.url}/a/b/", "models", timeout_s=7)
    head = served.heads[0]
    assert head.startswith("POST /a/b/vae.v1.VaeService/ListModels HTTP/1.1\r\n")
    for line in (
        f"host: {served.address}",
        "content-type: application/proto",
        "connect-protocol-version: 1",
        "accept-encoding: identity",
    ):
        assert f"{line}\r\n" in head
    assert 6000 < int(head.partition("connect-timeout-ms: ")[2].partition("\r\n")[0]) <= 7000
    with answering(http_peer.models()) as served:
        calls.do(served.url, "models", timeout_s=1e8)
    assert "connect-timeout-ms: 9999999999\r\n" in served.heads[0]
