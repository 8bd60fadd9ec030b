"""One request over HTTP/2: a stream, whose windows bound what either end may send (RFC 9113, section 5.2)."""

import asyncio
import contextlib
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from serving.doors.http.transport.exchange import Exchange, Headers
from serving.doors.http.transport.unsent import Unsent
from serving.errors import CallerLeft

_TURN = 16
"""Frames of an answer that are written at once."""


class Link(Protocol):
    """What a stream wants of its connection."""

    h2: H2Connection
    is_lost: bool
    unsent: Unsent

    def sent(self, size: int) -> None: ...

    def flush(self) -> None: ...

    async def drained(self, held: int) -> None: ...


class Http2Exchange(Exchange):
    __slots__ = ("_connection", "_unacknowledged", "_unsent", "_writable", "is_reset", "number")

    def __init__(
        self, connection: Link, number: int, method: str, target: str, headers: dict[str, str]
    ) -> None:
        super().__init__(method, target, headers)
        self._connection = connection
        self.number = number
        self.is_reset = False
        self._unacknowledged = 0
        self._unsent: bytes | memoryview = b""
        """The rest of a piece that was begun: a deadline may end its sender in the middle."""
        self._writable: asyncio.Future[None] | None = None

    def received(self, size: int) -> None:
        """So much of the window was used; it is given back as soon as somebody reads."""
        self._unacknowledged += size
        if self._limit is not None and not self._drops and not self.is_reset:
            self.settle()

    def settle(self) -> None:
        """Give back what was used of the windows."""
        size, self._unacknowledged = self._unacknowledged, 0
        with contextlib.suppress(ProtocolError):  # the connection has ended
            if size:
                self._connection.h2.acknowledge_received_data(size, self.number)

    def _wanted(self) -> None:
        self.received(0)
        if not self._is_whole and self.headers.get("expect", "").lower() == "100-continue":
            with contextlib.suppress(ProtocolError):  # the stream has ended
                self._connection.h2.send_headers(self.number, [(":status", "100")])
        self._connection.flush()

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        bare = status in (204, 304)
        length = [] if bare else [("content-length", str(len(body)))]
        is_empty = not body or self.method == "HEAD"
        self._head(status, [*headers, *length], ends=is_empty)
        if not is_empty:
            await self._send(body, ends=True)
        await self._connection.drained(0)

    async def begin(self, status: int, headers: Headers) -> None:
        self._head(status, headers, ends=False)
        await self._connection.drained(0)

    async def write(self, data: bytes) -> None:
        await self._connection.unsent.in_time(self._send(data, ends=False))

    async def end(self, data: bytes = b"") -> None:
        await self._send(data, ends=True)

    def may_write(self) -> None:
        """The other end takes more, or nothing any more."""
        if self._writable and not self._writable.done():
            self._writable.set_result(None)

    def reset(self, code: ErrorCodes) -> None:
        if not self.is_reset:
            self.is_reset = True
            self.settle()
            with contextlib.suppress(ProtocolError):  # it is closed already
                self._connection.h2.reset_stream(self.number, code)
            self._connection.flush()

    def _head(self, status: int, headers: Headers, *, ends: bool) -> None:
        self._check()
        self.has_answer = True
        try:
            self._connection.h2.send_headers(
                self.number,
                [(":status", str(status)), ("date", _date(int(time.time()))), *headers, *self.extra],
                end_stream=ends,
            )
        except ProtocolError:  # the stream or the connection has ended meanwhile
            raise CallerLeft from None
        self._connection.flush()

    async def _send(self, data: bytes, *, ends: bool) -> None:
        if self._unsent:  # what follows would be read as that rest
            data = b"".join((self._unsent, data))
        h2, view, at = self._connection.h2, memoryview(data), 0
        frames = 0
        while True:
            self._check()
            try:
                room = min(h2.local_flow_control_window(self.number), h2.max_outbound_frame_size)
                if room <= 0 and at < len(view):
                    await self._until_there_is_room(len(view))
                    continue
                piece = bytes(view[at : at + room])
                at += len(piece)
                self._unsent = view[at:]
                h2.send_data(self.number, piece, end_stream=ends and at == len(view))
            except ProtocolError:
                raise CallerLeft from None
            self._connection.sent(len(piece))
            self._connection.flush()
            await self._connection.drained(len(view))
            if at == len(view):
                return
            frames += 1
            if frames % _TURN == 0:
                await asyncio.sleep(0)

    async def _until_there_is_room(self, held: int) -> None:
        self._writable = asyncio.get_running_loop().create_future()
        await self._connection.unsent.until(self._writable, held)

    def _check(self) -> None:
        if self.is_reset or self._connection.is_lost:
            raise CallerLeft


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
