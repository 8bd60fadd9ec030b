"""Calls over HTTP/1.1, in asyncio."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message

from serving.client.failures import VaeError
from serving.client.http import http_failures
from serving.client.http.asyncio_connection import AsyncConnection, connect, look_up
from serving.client.http.connect_protocol import ConnectProtocol, enveloped, serialised
from serving.client.http.http_attempt import END_S, Attempt, Server
from serving.client.http.http_failures import BROKEN, is_late, left
from serving.client.http.http_origin import origin_of
from serving.client.http.http_pool import MOST_CONNECTIONS, Pool
from serving.client.http.http_sockets import CONNECT_S
from serving.client.transports.access import Access
from serving.client.transports.retries import Retries

T = TypeVar("T")


class AsyncHttp:
    """See ``AsyncTransport``."""

    def __init__(self, address: str, access: Access) -> None:
        """Raises ValueError for an address or a token that cannot be used, OSError for a certificate."""
        origin = origin_of(address, access)
        self._server = Server(origin, ConnectProtocol(origin, access.metadata()))
        self._own: _Own | None = None
        self._is_closed = False

    async def call(self, method: str, request: Message, timeout_s: float) -> Any:
        end = time.monotonic() + timeout_s
        body = serialised(request)
        async with self._slot(timeout_s) as pool:

            async def begin() -> _AsyncAttempt:
                attempt = _AsyncAttempt(self._server, pool, method, timeout_s, streamed=False)
                await attempt.begin(body, end)
                return attempt

            attempt = await _retried(begin, pool, end)
            try:
                return await attempt.finish(end)
            finally:
                attempt.leave()

    async def stream(self, method: str, request: Message, timeout_s: float) -> AsyncGenerator[Any, None]:
        end = time.monotonic() + timeout_s
        body = enveloped(serialised(request))
        async with self._slot(timeout_s) as pool:

            async def begin() -> tuple[_AsyncAttempt, Any]:
                attempt = _AsyncAttempt(self._server, pool, method, timeout_s, streamed=True)
                await attempt.begin(body, end)
                return attempt, await attempt.next(end)

            attempt, response = await _retried(begin, pool, end)
            try:
                while response is not None:
                    yield response
                    response = await attempt.next(time.monotonic() + timeout_s)
            finally:
                attempt.leave()

    async def close(self) -> None:
        self._is_closed = True
        if self._own:
            self._own.pool.close()
            await asyncio.sleep(0)  # for asyncio to close the sockets

    @asynccontextmanager
    async def _slot(self, timeout_s: float) -> AsyncIterator[Pool[AsyncConnection]]:
        """One of as many calls as may be in progress."""
        own = self._owned()
        if own.slots.locked():
            try:
                async with asyncio.timeout(timeout_s):
                    await own.slots.acquire()
            except TimeoutError:
                raise http_failures.too_many(timeout_s) from None
        else:
            await own.slots.acquire()
        try:
            yield own.pool
        finally:
            own.slots.release()

    def _owned(self) -> "_Own":
        """Connections of another event loop, or of the process that this one is a copy of, are left alone."""
        if self._is_closed:
            raise ValueError("this client is closed")
        key = asyncio.get_running_loop(), os.getpid()
        if self._own is None or self._own.key != key:
            self._own = _Own(key)
        return self._own


class _Own:
    """What belongs to one event loop."""

    def __init__(self, key: tuple[asyncio.AbstractEventLoop, int]) -> None:
        self.key = key
        self.pool: Pool[AsyncConnection] = Pool()
        self.slots = asyncio.Semaphore(MOST_CONNECTIONS)


async def _retried(begin: Callable[[], Awaitable[T]], pool: Pool[Any], end: float) -> T:
    retries = Retries()
    while True:
        try:
            return await begin()
        except VaeError as exc:
            pause_s = retries.pause_after(exc.code)
            if pause_s is None or pool.is_closed or time.monotonic() + pause_s >= end:
                raise
        await asyncio.sleep(pause_s)


class _AsyncAttempt(Attempt[AsyncConnection]):
    """Its steps, one after the other."""

    async def begin(self, body: bytes, end: float) -> None:
        """Until an answer begins. Raises VaeError."""
        with self.told():
            async with asyncio.timeout(left(end)):
                self.connection = await self._taken(end)
                try:
                    await self._send(body, end)
                except BROKEN as exc:
                    if not self.is_idle_end(exc):
                        raise
                    self.pool.lost(self.connection)
                    self.connection = None
                    self.connection = await self._opened(end)
                    await self._send(body, end)
                if not self.is_answer():
                    while not self.is_enough():
                        await self.connection.receive()
                    self.raise_error()

    async def finish(self, end: float) -> Any:
        """The response of a call that is not streamed. Raises VaeError."""
        with self.told():
            assert self.connection
            if not self.is_enough():
                async with asyncio.timeout(left(end)):
                    while not self.is_enough():
                        await self.connection.receive()
            return self.response()

    async def next(self, end: float) -> Any:
        """The next response of a stream, None after the last. Raises VaeError."""
        with self.told():
            assert self.connection
            async with asyncio.timeout(left(end)):
                while (response := self.next_message()) is None and not self.has_ended:
                    await self.connection.receive()
        if response is None:
            await self._read_end()
        return response

    def leave(self) -> None:
        if self.connection:
            self.connection.rest()
        super().leave()

    async def _read_end(self) -> None:
        """So that the connection can be used again."""
        assert self.connection
        try:
            async with asyncio.timeout(END_S):
                while not self.reply.is_whole:
                    await self.connection.receive()
        except BROKEN:
            self.drop()

    async def _send(self, body: bytes, end: float) -> None:
        assert self.connection
        self.connection.send(self.head(len(body), end), body, self.reply)
        while not self.reply.has_head:
            await self.connection.receive()

    async def _taken(self, end: float) -> AsyncConnection:
        while connection := self.pool.idle():
            if connection.is_alive():
                return connection
            self.pool.lost(connection)
        return await self._opened(end)

    async def _opened(self, end: float) -> AsyncConnection:
        """To the first address that can be reached. Raises VaeError, TimeoutError."""
        origin, failure = self.server.origin, None
        if self.pool.wants_addresses():
            await self._look_up(end)
        candidates = self.pool.candidates()
        for address in candidates:
            is_last = address is candidates[-1]
            try:
                limit = end if is_last else min(end, time.monotonic() + CONNECT_S)
                connection = await connect(origin, address, limit, end)
            except OSError as exc:
                if is_late(exc) and time.monotonic() >= end:
                    raise
                self.pool.refused(address)
                failure = exc
            else:
                self.pool.opened(connection)
                return connection
        raise http_failures.unreachable(origin, failure)

    async def _look_up(self, end: float) -> None:
        origin, known = self.server.origin, self.pool.candidates()
        try:
            limit = min(end, time.monotonic() + CONNECT_S) if known else end
            found = await look_up(origin.host, origin.port, limit)
        except OSError as exc:
            if not known:
                raise exc if is_late(exc) else http_failures.unreachable(origin, exc) from None
            found = []  # those of before may do
        self.pool.found(found)
