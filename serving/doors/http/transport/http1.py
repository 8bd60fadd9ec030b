"""A connection of HTTP/1.1 (RFC 9112), parsed by httptools, which is Node's parser.

Requests of one connection are answered one after the other.
"""

import asyncio
import re
import time
from collections import deque
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import httptools

from serving.doors.http.transport.connection import LONGEST_HEAD, Connection, Terms
from serving.doors.http.transport.exchange import Exchange, Headers
from serving.errors import CallerLeft

_MOST_WAITING = 64
"""Requests that a caller may send before it has heard of the first."""
_A_HEADER = 32
"""Bytes that one takes besides its own, as HPACK counts them."""
_UNREAD_BYTES = 64 << 10
"""Kept of a body that nobody has asked for yet."""
_PIECE = 256 << 10
"""Bytes of an answer that are handed over at once: a transport keeps them until all of them were taken."""
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {499: "Client Closed Request"}
_WHY = {400: "malformed", 429: "pipelined", 431: "head_too_large"}
"""Requests are refused before they are whole."""
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)(?:/|(?=\?)|\Z)([^#]*)", re.DOTALL)
"""A target as it is said to a proxy; any server has to take it (RFC 9112, section 3.2.2)."""


class Http1Connection(Connection):
    """See the module."""

    def __init__(self, transport: asyncio.Transport, terms: Terms) -> None:
        super().__init__(transport, terms)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._idle_bytes = 0
        """Fed to the parser since it last found something: it keeps a line without end, and says nothing."""
        self._has_found = False
        self._refusal = 0
        """The status for what is no HTTP, once what is answered has ended."""
        self._in_head = False
        self._newest: _Http1Exchange | None = None
        """The request whose body is being received."""
        self._waiting: deque[_Http1Exchange] = deque()
        self._ends = False
        """Whether no more requests are taken."""

    @property
    def is_in_head(self) -> bool:
        return self._in_head

    def receive(self, data: bytes) -> None:
        if self._ends:
            return
        self._has_found = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._ends = True  # to another protocol, which we do not speak: the request is answered as it is
        except (httptools.HttpParserError, _Refused) as exc:
            reason = exc.__context__ if isinstance(exc.__context__, _Refused) else exc
            self._refuse(reason.status if isinstance(reason, _Refused) else 400)
            return
        self._idle_bytes = 0 if self._has_found else self._idle_bytes + len(data)
        if self._idle_bytes > LONGEST_HEAD:
            self._refuse(431)
            return
        newest = self._newest
        if newest and not newest.is_read and newest.unread_bytes > _UNREAD_BYTES:
            self.transport.pause_reading()

    def close_when_idle(self) -> None:
        self._ends = True
        if not self.tasks and not self._waiting:
            self.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._target, self._headers, self._head_bytes = b"", {}, 0
        self._in_head = self._has_found = True
        if not self.tasks:
            self.since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _A_HEADER)
        if not self._in_head:
            return  # after a body
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        before = self._headers.get(key)
        self._headers[key] = text if before is None else f"{before}, {text}"

    def on_headers_complete(self) -> None:
        self._in_head, self._has_found = False, True
        if len(self._waiting) >= _MOST_WAITING:
            raise _Refused(429)
        version = self._parser.get_http_version()
        if version != "1.0" and ("host" not in self._headers or "," in self._headers["host"]):
            raise _Refused(400)
        if not self._target.startswith(b"/"):
            self._take_authority()
        exchange = _Http1Exchange(self, self._parser.get_method().decode(), self._target, self._headers)
        exchange.is_chunkable = version != "1.0"
        goes_on = self._parser.should_keep_alive() and not self._parser.should_upgrade()
        exchange.is_last = not (goes_on and exchange.is_chunkable)
        self._newest = exchange
        if self.tasks:
            self._waiting.append(exchange)
        else:
            self.start(exchange)

    def _take_authority(self) -> None:
        """What a target says of the host counts, whatever the header says."""
        if found := _ABSOLUTE.fullmatch(self._target):
            self._target = b"/" + found[2]
            self._headers["host"] = found[1].decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._has_found = True
        if self._newest:
            self._newest.feed(body)

    def on_message_complete(self) -> None:
        self._has_found = True
        if self._newest:
            self._newest.feed_end()
        self._newest = None

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > LONGEST_HEAD:
            raise _Refused(431)

    def _refuse(self, status: int) -> None:
        """What came is no HTTP, and where the next request would begin unknown. Those before are answered."""
        self._ends, self._refusal = True, status
        self.terms.refused(_WHY[status])
        unfinished, self._newest = self._newest, None
        if unfinished and unfinished in self._waiting:
            self._waiting.remove(unfinished)
        for task, exchange in self.tasks.items():
            if exchange is unfinished:  # the rest of it never comes
                task.cancel()
        if not self.tasks:
            self._say_refusal()

    def _say_refusal(self) -> None:
        head = _head(self._refusal, (("connection", "close"), ("content-length", "0")), _now())
        self.transport.write(head + b"\r\n")
        self.linger()

    def lost(self) -> None:
        super().lost()
        self._parser = self._newest = None  # the parser holds this connection, and that the last body
        self._waiting.clear()

    def _left(self, exchange: Exchange) -> None:
        self.abort()

    def _done(self, exchange: Exchange) -> None:
        assert isinstance(exchange, _Http1Exchange)
        if self._refusal and not self._waiting and (exchange.is_read or not exchange.has_answer):
            self._say_refusal()
        elif not exchange.has_answer:  # of a handler that failed there is one; this one was cancelled
            self.abort()
        elif not exchange.is_read:
            self._ends = True
            self.linger()
            self.transport.resume_reading()
        elif exchange.is_last or (self._ends and not self._waiting):
            self._ends = True
            self.close()
        elif self._waiting:
            self.start(self._waiting.popleft())


class _Refused(Exception):
    """By a limit of ours, in the middle of the parser."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Http1Exchange(Exchange):
    __slots__ = ("_connection", "_in_chunks", "_unsent", "is_chunkable", "is_last")

    def __init__(
        self, connection: Http1Connection, method: str, target: bytes, headers: dict[str, str]
    ) -> None:
        super().__init__(method, target.decode("latin-1"), headers)
        self._connection = connection
        self._in_chunks = False
        self._unsent: bytes | memoryview = b""
        """The rest of what was begun: a deadline may end its sender in the middle."""
        self.is_last = self.is_chunkable = False

    def _wanted(self) -> None:
        if self._is_whole:
            return
        if self.headers.get("expect", "").lower() == "100-continue":
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._connection.transport.resume_reading()

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.has_answer = True
        head = _head(status, (*headers, *self.extra), _now())
        length = b"" if status in (204, 304) else b"content-length: %d\r\n" % len(body)
        if self.method == "HEAD":
            body = b""
        if len(body) <= _PIECE:
            self._write(b"".join((head, self._last(), length, b"\r\n", body)))
            await self._connection.drained(len(body))
        else:
            self._write(b"".join((head, self._last(), length, b"\r\n")))
            await self._send(body)

    async def begin(self, status: int, headers: Headers) -> None:
        self.has_answer = True
        self._in_chunks = self.is_chunkable
        self.is_last |= not self._in_chunks
        coding = b"transfer-encoding: chunked\r\n" if self._in_chunks else b""
        self._write(_head(status, (*headers, *self.extra), _now()) + self._last() + coding + b"\r\n")
        await self._connection.drained(0)

    async def write(self, data: bytes) -> None:
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if self._in_chunks and data else data
        await self._connection.unsent.in_time(self._send(chunk))

    async def end(self, data: bytes = b"") -> None:
        if data:
            await self.write(data)
        await self._send(b"0\r\n\r\n" if self._in_chunks else b"")

    async def _send(self, data: bytes) -> None:
        """Piece by piece, each once the reader takes it."""
        if self._unsent:  # what follows would be read as that rest
            data = b"".join((self._unsent, data))
        view, size = memoryview(data), len(data)
        for at in range(0, size, _PIECE):
            self._unsent = view[at + _PIECE :]
            self._write(data if size <= _PIECE else bytes(view[at : at + _PIECE]))
            await self._connection.drained(size)

    def _last(self) -> bytes:
        self.is_last |= not self._is_whole or self._connection.is_old
        return b"connection: close\r\n" if self.is_last else b""

    def _write(self, data: bytes) -> None:
        if self._connection.is_lost:
            raise CallerLeft
        self._connection.transport.write(data)


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...], second: int) -> bytes:
    """Without what ends it."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}", f"date: {formatdate(second, usegmt=True)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _now() -> int:
    return int(time.time())
