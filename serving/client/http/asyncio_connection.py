"""A connection of HTTP/1.1 for one call at a time, in asyncio."""

import asyncio
import contextlib
import socket
from typing import cast

from serving.client.http import http_failures, http_sockets
from serving.client.http.http_failures import BROKEN, left
from serving.client.http.http_origin import Origin
from serving.client.http.http_pool import Address
from serving.client.http.http_reply import CutOff, Reply


class AsyncConnection(asyncio.BufferedProtocol):
    """See ``Pooled``. What comes is put into the reply that is waited for."""

    def __init__(self, connected: socket.socket, address: Address) -> None:
        self._socket = connected
        self.address = address
        self.is_used = self.is_spoiled = False
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._wakes: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        """Why nothing more comes."""
        self._unasked = bytearray(1)
        """Where it goes, if anything comes unasked."""

    def is_alive(self) -> bool:
        """Whether it is as it was left: nothing came, not even its end."""
        assert self._transport
        if self._lost or self._transport.is_closing():
            return False
        if self._transport.get_extra_info("ssl_object"):
            return True  # what came may be TLS's own
        try:
            self._socket.recv(1, socket.MSG_PEEK)  # what the loop has not heard of yet
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send(self, head: bytes, body: bytes, reply: Reply) -> None:
        """Begin to, and to take the reply."""
        assert self._transport
        size = len(head) + len(body)
        http_sockets.expect(self._socket, size)
        self._reply = reply
        if size <= http_sockets.SMALL:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)

    async def receive(self) -> None:
        """Some of the reply. Raises OSError, CutOff, BadReply: what the connection ended with."""
        assert self._transport
        if self._lost:
            raise self._lost
        self._transport.resume_reading()
        self._wakes = asyncio.get_running_loop().create_future()
        try:
            await self._wakes
        finally:
            self._wakes = None

    def rest(self) -> None:
        """The reply was read; what comes from here on is not wanted."""
        assert self._transport
        self.is_spoiled |= self._transport.get_write_buffer_size() > 0
        self._reply = None
        self._transport.resume_reading()  # to hear of its end

    def abort(self) -> None:
        if self._transport:
            with contextlib.suppress(RuntimeError):  # its event loop may be closed
                self._transport.abort()

    def close(self) -> None:
        self.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> bytearray | memoryview:
        return self._unasked if self._reply is None or self._reply.is_whole else self._reply.room()

    def buffer_updated(self, nbytes: int) -> None:
        assert self._transport
        if self._reply is None or self._reply.is_whole:
            self._fail(CutOff("the server spoke unasked"))
            return
        try:
            self._reply.received(nbytes)
        except BROKEN as exc:
            self._fail(exc)
            return
        if self._wakes is None:  # the reader of a stream is slow: the server has to wait
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        try:
            if self._reply and not self._reply.is_whole:
                self._reply.ended()
        except BROKEN as exc:
            self._lost = self._lost or exc
        else:
            self._lost = self._lost or CutOff("the connection was closed")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or exc or CutOff("the connection was closed")
        self._wake()

    def _fail(self, reason: Exception) -> None:
        self._lost = self._lost or reason
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._wakes and not self._wakes.done():
            self._wakes.set_result(None)


async def connect(origin: Origin, address: Address, connect_end: float, end: float) -> AsyncConnection:
    """TCP by ``connect_end``, tunnel and TLS by ``end``. Raises OSError."""
    family, name = address
    loop = asyncio.get_running_loop()
    connected = socket.socket(family, socket.SOCK_STREAM)
    connection = AsyncConnection(connected, address)
    try:
        connected.setblocking(False)
        async with asyncio.timeout(left(connect_end)):
            await loop.sock_connect(connected, name)
        http_sockets.tune(connected)
        async with asyncio.timeout(left(end)):
            if origin.tunnel:
                await loop.sock_sendall(connected, origin.tunnel)
                http_failures.check_tunnel(origin, await _tunnel_answer(connected))
            await loop.create_connection(
                lambda: connection,
                sock=connected,
                ssl=origin.context,
                server_hostname=origin.server_name if origin.context else None,
            )
    except BaseException:
        connection.close()
        connected.close()
        raise
    return connection


async def _tunnel_answer(connected: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < http_sockets.LONGEST_TUNNEL:
        piece = await loop.sock_recv(connected, http_sockets.LONGEST_TUNNEL)
        if not piece:
            break
        answer += piece
    return answer


async def look_up(host: str, port: int, end: float) -> list[Address]:
    """What the name stands for. Raises OSError."""
    async with asyncio.timeout(left(end)):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, name) for family, _, _, _, name in found]
