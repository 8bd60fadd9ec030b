"""Calls over HTTP/1.1, for threads."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from google.protobuf.message import Message

from serving.client.failures import VaeError
from serving.client.http import http_failures
from serving.client.http.blocking_connection import BlockingConnection, connect, look_up
from serving.client.http.connect_protocol import ConnectProtocol, enveloped, serialised
from serving.client.http.http_attempt import END_S, Attempt, Server
from serving.client.http.http_failures import BROKEN, is_late
from serving.client.http.http_origin import origin_of
from serving.client.http.http_pool import MOST_CONNECTIONS, Pool
from serving.client.http.http_sockets import CONNECT_S
from serving.client.transports.access import Access
from serving.client.transports.retries import Retries

T = TypeVar("T")


class BlockingHttp:
    """See ``BlockingTransport``."""

    def __init__(self, address: str, access: Access) -> None:
        """Raises ValueError for an address or a token that cannot be used, OSError for a certificate."""
        origin = origin_of(address, access)
        self._server = Server(origin, ConnectProtocol(origin, access.metadata()))
        self._own = _Own()
        self._end = weakref.finalize(self, self._own.pool.close)
        self._end.atexit = False

    def call(self, method: str, request: Message, timeout_s: float) -> Any:
        end = time.monotonic() + timeout_s
        body = serialised(request)
        with self._slot(timeout_s) as pool:

            def begin() -> _BlockingAttempt:
                attempt = _BlockingAttempt(self._server, pool, method, timeout_s, streamed=False)
                attempt.begin(body, end)
                return attempt

            attempt = _retried(begin, pool, end)
            try:
                return attempt.finish(end)
            finally:
                attempt.leave()

    def stream(self, method: str, request: Message, timeout_s: float) -> Generator[Any, None, None]:
        end = time.monotonic() + timeout_s
        body = enveloped(serialised(request))
        with self._slot(timeout_s) as pool:

            def begin() -> tuple[_BlockingAttempt, Any]:
                attempt = _BlockingAttempt(self._server, pool, method, timeout_s, streamed=True)
                attempt.begin(body, end)
                return attempt, attempt.next(end)

            attempt, response = _retried(begin, pool, end)
            try:
                while response is not None:
                    yield response
                    response = attempt.next(time.monotonic() + timeout_s)
            finally:
                attempt.leave()

    def close(self) -> None:
        self._own.pool.close()

    @contextmanager
    def _slot(self, timeout_s: float) -> Iterator[Pool[BlockingConnection]]:
        """One of as many calls as may be in progress."""
        if self._own.process != os.getpid():  # a copy of the process: the connections are the original's
            self._end.detach()
            self._own.pool.forget()
            self._own = _Own()
            self._end = weakref.finalize(self, self._own.pool.close)
            self._end.atexit = False
        own = self._own
        if not own.slots.acquire(timeout=timeout_s):
            raise http_failures.too_many(timeout_s)
        try:
            yield own.pool
        finally:
            own.slots.release()


class _Own:
    """What belongs to one process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.pool: Pool[BlockingConnection] = Pool()
        self.slots = threading.BoundedSemaphore(MOST_CONNECTIONS)


def _retried(begin: Callable[[], T], pool: Pool[Any], end: float) -> T:
    retries = Retries()
    while True:
        try:
            return begin()
        except VaeError as exc:
            pause_s = retries.pause_after(exc.code)
            if pause_s is None or pool.is_closed or time.monotonic() + pause_s >= end:
                raise
        time.sleep(pause_s)


class _BlockingAttempt(Attempt[BlockingConnection]):
    """Its steps, one after the other."""

    def begin(self, body: bytes, end: float) -> None:
        """Until an answer begins. Raises VaeError."""
        with self.told():
            self.connection = self._taken(end)
            try:
                self._send(body, end)
            except BROKEN as exc:
                if not self.is_idle_end(exc):
                    raise
                self.pool.lost(self.connection)
                self.connection = None
                self.connection = self._opened(end)
                self._send(body, end)
            if not self.is_answer():
                while not self.is_enough():
                    self.connection.receive(self.reply, end)
                self.raise_error()

    def finish(self, end: float) -> Any:
        """The response of a call that is not streamed. Raises VaeError."""
        with self.told():
            assert self.connection
            while not self.is_enough():
                self.connection.receive(self.reply, end)
            return self.response()

    def next(self, end: float) -> Any:
        """The next response of a stream, None after the last. Raises VaeError."""
        with self.told():
            assert self.connection
            while (response := self.next_message()) is None and not self.has_ended:
                self.connection.receive(self.reply, end)
        if response is None:
            self._read_end()
        return response

    def _read_end(self) -> None:
        """So that the connection can be used again."""
        assert self.connection
        try:
            while not self.reply.is_whole:
                self.connection.receive(self.reply, time.monotonic() + END_S)
        except BROKEN:
            self.drop()

    def _send(self, body: bytes, end: float) -> None:
        assert self.connection
        self.connection.send(self.head(len(body), end), body, self.reply, end)
        while not self.reply.has_head:
            self.connection.receive(self.reply, end)

    def _taken(self, end: float) -> BlockingConnection:
        while connection := self.pool.idle():
            if connection.is_alive():
                return connection
            self.pool.lost(connection)
        return self._opened(end)

    def _opened(self, end: float) -> BlockingConnection:
        """To the first address that can be reached. Raises VaeError, TimeoutError."""
        origin, failure = self.server.origin, None
        if self.pool.wants_addresses():
            self._look_up(end)
        candidates = self.pool.candidates()
        for address in candidates:
            is_last = address is candidates[-1]
            try:
                limit = end if is_last else min(end, time.monotonic() + CONNECT_S)
                connection = connect(origin, address, limit, end)
            except OSError as exc:
                if is_late(exc) and time.monotonic() >= end:
                    raise
                self.pool.refused(address)
                failure = exc
            else:
                self.pool.opened(connection)
                return connection
        raise http_failures.unreachable(origin, failure)

    def _look_up(self, end: float) -> None:
        origin, known = self.server.origin, self.pool.candidates()
        try:
            limit = min(end, time.monotonic() + CONNECT_S) if known else end
            found = look_up(origin.host, origin.port, limit)
        except OSError as exc:
            if not known:
                raise exc if is_late(exc) else http_failures.unreachable(origin, exc) from None
            found = []  # those of before may do
        self.pool.found(found)
