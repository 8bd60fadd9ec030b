"""One request over HTTP/2: a stream, whose windows bound what either end may send (RFC 9113, section 5.2)."""

import asyncio
from typing import Protocol

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from serving.doors.http.transport.exchange import Exchange, Headers, until
from serving.errors import CallerLeft

_TURN = 16
"""Frames of an answer that are written at once."""


class Link(Protocol):
    """What a stream wants of its connection."""

    h2: H2Connection
    is_lost: bool

    def sent(self, size: int) -> None: ...

    def flush(self) -> None: ...

    async def drained(self) -> None: ...


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
        if self._limit is not None and self._unacknowledged and not self.is_reset:
            self._connection.h2.acknowledge_received_data(self._unacknowledged, self.number)
            self._unacknowledged = 0

    def _wanted(self) -> None:
        self.received(0)
        self._connection.flush()

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        bare = status in (204, 304)
        length = [] if bare else [("content-length", str(len(body)))]
        is_empty = not body or self.method == "HEAD"
        self._head(status, [*headers, *length], ends=is_empty)
        if not is_empty:
            await self._send(body, ends=True)
        await self._connection.drained()

    async def begin(self, status: int, headers: Headers) -> None:
        self._head(status, headers, ends=False)
        await self._connection.drained()

    async def write(self, data: bytes) -> None:
        await self._send(data, ends=False)

    async def end(self, data: bytes = b"") -> None:
        await self._send(data, ends=True)

    def may_write(self) -> None:
        """The other end takes more, or nothing any more."""
        if self._writable and not self._writable.done():
            self._writable.set_result(None)

    def reset(self, code: ErrorCodes) -> None:
        if not self.is_reset:
            self.is_reset = True
            try:
                self._connection.h2.acknowledge_received_data(self._unacknowledged, self.number)
                self._connection.h2.reset_stream(self.number, code)
            except ProtocolError:  # it is closed already
                pass
            self._connection.flush()

    def _head(self, status: int, headers: Headers, *, ends: bool) -> None:
        self._check()
        self.has_answer = True
        try:
            self._connection.h2.send_headers(
                self.number, [(":status", str(status)), *headers, *self.extra], end_stream=ends
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
                    await self._until_there_is_room()
                    continue
                piece = bytes(view[at : at + room])
                at += len(piece)
                self._unsent = view[at:]
                h2.send_data(self.number, piece, end_stream=ends and at == len(view))
            except ProtocolError:
                raise CallerLeft from None
            self._connection.sent(len(piece))
            self._connection.flush()
            await self._connection.drained()
            if at == len(view):
                return
            frames += 1
            if frames % _TURN == 0:
                await asyncio.sleep(0)

    async def _until_there_is_room(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()
        await until(self._writable)

    def _check(self) -> None:
        if self.is_reset or self._connection.is_lost:
            raise CallerLeft
