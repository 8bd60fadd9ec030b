"""serving.client.http.http_reply: replies of HTTP/1.1 in whatever pieces they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client.http.http_reply import BadReply, CutOff, Reply


def fed(raw, sizes=(), *, in_pieces=False, closes=False):
    """The reply after these bytes, in pieces of these sizes and the rest at once; and its body."""
    reply, body = Reply(in_pieces=in_pieces), bytearray()
    sizes = list(sizes)
    while raw and not reply.is_whole:
        with reply.room() as room:
            count = min(len(raw), len(room), max(1, sizes.pop(0)) if sizes else len(raw))
            room[:count] = raw[:count]
        reply.received(count)
        raw = raw[count:]
        if in_pieces:
            body += reply.take()
    if closes:
        reply.ended()
    return reply, bytes(body or reply.take())


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX: a\r\nx:b\r\n"
BODY = bytes(range(256)) * 20
KNOWN = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKS = (
    HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%X; name=1\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:5000], BODY[5000:]))
    + b"0\r\ntrailer: 1\r\n\r\n"
)
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"


@given(
    st.sampled_from([KNOWN, CHUNKS, EARLY + KNOWN]),
    st.lists(st.integers(1, 3000)) | st.just([1] * 9000),
    st.booleans(),
)
def test_pieces_make_no_difference(raw, sizes, in_pieces):
    """Whatever the network does to a reply, head and body are the same."""
    reply, body = fed(raw, sizes, in_pieces=in_pieces)
    assert (reply.status, reply.is_whole, reply.keeps_alive, reply.has_length) == (200, True, True, True)
    assert (reply.headers["content-type"], reply.headers["x"]) == ("text/plain", "a, b")
    assert body == BODY


@pytest.mark.parametrize(
    ("raw", "keeps_alive"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 503 \r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 503\r\nconnection: foo, close\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 502 Bad\r\ncontent-length: 2\r\n\r\nno", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nno", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno and more", False),
    ],
)
def test_whether_a_connection_can_be_used_again(raw, keeps_alive):
    """Not if the server says so, speaks the older version, or says more than was asked for."""
    reply, _ = fed(raw)
    assert (reply.is_whole, reply.keeps_alive) == (True, keeps_alive)


def test_a_body_that_ends_with_the_connection():
    """It is whole when the server closes, and known to have had no length."""
    reply, body = fed(b"HTTP/1.1 502 Bad Gateway\r\n\r\nsome page", closes=True)
    assert (reply.is_whole, reply.has_length, reply.keeps_alive, body) == (True, False, False, b"some page")


@pytest.mark.parametrize("raw", [KNOWN[:20], KNOWN[:-1], CHUNKS[:-1], CHUNKS[:300], EARLY])
def test_a_reply_that_is_cut_off(raw):
    """Wherever it is cut, it is not taken for whole."""
    with pytest.raises(CutOff):
        fed(raw, closes=True)


HTTP2 = bytes.fromhex("00001e040000000000") + bytes(30)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "came something else"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "came something else"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "came something else"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "came something else"),
        (b"HTTP/1.1 200\r\n name: x\r\n\r\n", "came a line that is none"),
        (b"HTTP/1.1 200\r\na: 1\r\n folded\r\n\r\n", "came a line that is none"),
        (b"HTTP/1.1 200\r\nname : x\r\n\r\n", "came a line that is none"),
        (b"HTTP/1.1 200\r\nname: a\nb: c\r\n\r\n", "came a line that is none"),
        (b"HTTP/1.1 200\r\nno colon\r\n\r\n", "came a line that is none"),
        (b"HTTP/1.1 200\r\ncontent-length: -1\r\n\r\n", "want one content-length"),
        (b"HTTP/1.1 200\r\ncontent-length: +1\r\n\r\n", "want one content-length"),
        (b"HTTP/1.1 200\r\ncontent-length: \xb2\r\n\r\n", "want one content-length"),
        (b"HTTP/1.1 200\r\ncontent-length: 9999999999999999999\r\n\r\n", "want one content-length"),
        (b"HTTP/1.1 200\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "want one content-length"),
        (b"HTTP/1.1 200\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "transfer-encoding"),
        (b"HTTP/1.1 200\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n", "transfer-encoding"),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n", "change to another protocol"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n", "size of a chunk"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0x1\r\n", "size of a chunk"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 16 + b"\r\n", "size of a chunk"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\n", "CR LF"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n", "end of a chunk"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1" * 5000, "lines of at most"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 2000, "after a body"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, "bytes of headers"),
        (b"HTTP/1.1 200 " + b"x" * 70_000, "bytes of headers"),
        (HTTP2, "gRPC port"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "https://"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_what_is_no_reply(raw, said, size):
    """It is refused with a word on what it is, at the latest when too much has come; nothing is guessed."""
    if raw[:1] in b"\0\x15" and size == 1:
        said = "came something else"  # a single byte tells nothing more
    with pytest.raises(BadReply, match=said):
        fed(raw, [size] * len(raw))


def test_a_length_is_not_believed():
    """A body that claims to be enormous takes the memory of what has come of it."""
    reply = Reply()
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999999999\r\n\r\nabc"
    with reply.room() as room:
        room[: len(raw)] = raw
    reply.received(len(raw))
    with reply.room() as room:
        assert len(room) <= 64 << 20
    assert (reply.size, bytes(reply.take()), reply.is_whole) == (3, b"abc", False)
