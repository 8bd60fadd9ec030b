"""The HTTP door's sockets: who may connect, which version of HTTP is spoken, and how it ends."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

from serving.doors.http.transport.connection import Connection, Route, Terms
from serving.doors.http.transport.exchange import Exchange, Refused
from serving.doors.http.transport.http1 import Http1Connection
from serving.doors.http.transport.http2 import Http2Connection
from serving.doors.http.transport.http2_frames import PREFACE
from serving.doors.http.transport.unsent import Unsent
from serving.errors import StartupError
from serving.host import sockets

_LOOK_S = 1.0
_BACKLOG = 512
_HANDSHAKE_S = 10.0
_SHORT_S = 0.1
"""A pause when the system has no descriptor left."""
_POLL_S = 0.01
_BUFFER = 64 << 10
"""Bytes that a transport keeps before it wants no more; it wants more once it has none."""


class Listener:
    """Belongs to its event loop."""

    def __init__(
        self,
        route: Route,
        refused: Refused,
        *,
        connections: int,
        max_streams: int,
        max_age_s: float,
        most_unsent: int,
    ) -> None:
        """``connections`` is how many it may have; one too many takes the place of one that is silent, or is
        closed. ``most_unsent``: bytes of all answers that wait for their readers."""
        unsent = Unsent(most_unsent, partial(refused, "unread"))
        self._terms = Terms(route, max_streams, max_age_s, unsent, refused)
        self._most = connections
        self._admitted = 0
        """Connections that were taken, those among them that have not yet shaken hands."""
        self._context: ssl.SSLContext | None = None
        self._sockets: list[socket.socket] = []
        self._newcomers: dict[_Protocol, asyncio.Task[None]] = {}
        """The oldest first, with what greets them; some have asked for something since."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._looks: asyncio.TimerHandle | None = None

    async def start(self, address: str, context: ssl.SSLContext | None, *, shared: bool) -> str:
        """Listen; returns the address with the port that is really bound. ``shared``: with other processes.

        Raises StartupError.
        """
        try:
            self._sockets, bound = sockets.listen(address, _BACKLOG, shared=shared)
        except OSError as exc:
            raise StartupError(
                f"--http-address {address}: cannot listen there; is the port taken? ({exc.strerror})"
            ) from None
        self.use(context)
        for listening in self._sockets:
            self._listen(listening)
        self._look()
        return bound

    def use(self, context: ssl.SSLContext | None) -> None:
        """For every connection from here on these certificates."""
        self._context = context

    def retire(self) -> None:
        """Say with each answer that it is the last of its connection."""
        self._terms.is_closing = True

    async def stop(self, timeout_s: float) -> None:
        """Close what is idle at once, the others when they are answered, and what is left after the time."""
        self.retire()
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)
            listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        end = loop.time() + timeout_s
        for connection in list(self._terms.connections):
            connection.retire()
        while self._terms.connections and loop.time() < end:  # noqa: ASYNC110  # an event would cost every one
            await asyncio.sleep(_POLL_S)
        for connection in list(self._terms.connections):
            connection.abort()
        if self._looks:
            self._looks.cancel()

    def _listen(self, listening: socket.socket) -> None:
        """Not by ``sock_accept``: one that it has taken when it is cancelled is nobody's."""
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            connected, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # the other end has left already
            return
        except OSError:  # no descriptor is left
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            loop.call_later(_SHORT_S, self._listen, listening)
            return
        connected.setblocking(False)
        if self._admitted < self._most or self._makes_room():
            self._admit(connected)
        else:
            self._terms.refused("connections")
            connected.close()

    def _admit(self, connected: socket.socket) -> None:
        self._admitted += 1
        protocol = _Protocol(self._terms, self._parted)
        greeting = self._begin(self._greet(connected, protocol))
        self._newcomers[protocol] = greeting

        def greeted(_: asyncio.Task[None]) -> None:
            if not protocol.was_made:  # also of one that was cancelled before it began
                self._parted(protocol)
                connected.close()

        greeting.add_done_callback(greeted)

    async def _greet(self, connected: socket.socket, protocol: "_Protocol") -> None:
        """Shake hands, if there is TLS."""
        options = {"ssl_handshake_timeout": _HANDSHAKE_S} if self._context else {}
        with contextlib.suppress(OSError):  # it has left, speaks no TLS, or has no certificate
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, connected, ssl=self._context, **options
            )

    def _makes_room(self) -> bool:
        """End the oldest of the connections that have not asked for anything yet, if there is one."""
        while self._newcomers:
            protocol = next(iter(self._newcomers))
            greeting = self._newcomers.pop(protocol)
            if not protocol.has_asked:
                self._terms.refused("silent")
                greeting.cancel()
                protocol.abort()
                return True
        return False

    def _parted(self, protocol: "_Protocol") -> None:
        self._admitted -= 1
        self._newcomers.pop(protocol, None)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._looks = loop.call_later(_LOOK_S, self._look)
        for connection in list(self._terms.connections):
            connection.look(loop.time())


class _Undecided(Connection):
    """Has said nothing yet."""

    is_in_head = True

    def receive(self, data: bytes) -> None:
        """Its protocol keeps what comes."""

    def close_when_idle(self) -> None:
        self.close()

    def _left(self, exchange: Exchange) -> None:
        """There is none."""

    def _done(self, exchange: Exchange) -> None:
        """There is none."""


class _Protocol(asyncio.Protocol):
    """What asyncio tells of a connection, to the version of HTTP that it turns out to be of."""

    def __init__(self, terms: Terms, parted: Callable[["_Protocol"], None]) -> None:
        self._terms = terms
        self._parted = parted
        self.was_made = False
        self._connection: Connection | None = None
        self._first = b""

    @property
    def has_asked(self) -> bool:
        """Whether the whole head of a request has come."""
        return self._connection is not None and self._connection.has_asked

    def abort(self) -> None:
        if self._connection:
            self._connection.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.was_made = True
        stream = cast("asyncio.Transport", transport)
        stream.set_write_buffer_limits(_BUFFER, 0)
        tls = transport.get_extra_info("ssl_object")
        kind: type[Connection] = _Undecided
        if tls is not None:
            kind = Http2Connection if tls.selected_alpn_protocol() == "h2" else Http1Connection
        self._speak(kind, stream)

    def data_received(self, data: bytes) -> None:
        connection = self._connection
        if isinstance(connection, _Undecided):
            self._first += data
            if len(self._first) < len(PREFACE) and PREFACE.startswith(self._first):
                return
            kind = Http2Connection if self._first.startswith(PREFACE) else Http1Connection
            self._terms.connections.discard(connection)
            connection = self._speak(kind, connection.transport)
            data, self._first = self._first, b""
        if connection:
            connection.receive(data)

    def eof_received(self) -> None:
        """Who has said that no more will come is taken to have left: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._parted(self)
        if self._connection:
            self._terms.connections.discard(self._connection)
            self._connection.lost()

    def pause_writing(self) -> None:
        if self._connection:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        if self._connection:
            self._connection.resume_writing()

    def _speak(self, kind: type[Connection], transport: asyncio.Transport) -> Connection:
        self._connection = connection = kind(transport, self._terms)
        self._terms.connections.add(connection)
        return connection
