"""One attempt at a call over HTTP: what is the same for threads and for asyncio."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from serving.client import failures
from serving.client.failures import VaeError
from serving.client.http import http_failures
from serving.client.http.connect_protocol import ConnectProtocol, Envelopes
from serving.client.http.http_failures import BROKEN, is_late, left
from serving.client.http.http_origin import Origin
from serving.client.http.http_pool import Pool, Pooled
from serving.client.http.http_reply import CutOff, Reply

C = TypeVar("C", bound=Pooled)

END_S = 0.1
"""For the last bytes of a stream, which follow its last message at once."""


@dataclass(frozen=True)
class Server:
    """Where it is and how it is spoken to."""

    origin: Origin
    protocol: ConnectProtocol


class Attempt(Generic[C]):
    """Uses one connection, from the request to the end of the answer."""

    def __init__(
        self, server: Server, pool: Pool[C], method: str, timeout_s: float, *, streamed: bool
    ) -> None:
        """``timeout_s``: of the call, or of each response of one that is ``streamed``; errors name it."""
        self.server, self.pool, self.method = server, pool, method
        self.timeout_s = timeout_s
        self.streamed = streamed
        self.connection: C | None = None
        self.reply = Reply(in_pieces=streamed)
        self.envelopes = Envelopes(server.origin.shown)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Whatever goes wrong inside ends the use of the connection and is raised as VaeError."""
        try:
            yield
        except BROKEN as exc:
            if self.connection:
                self.pool.lost(self.connection)
                self.connection = None
            raise self._error(exc) from None
        except VaeError:
            self.leave()
            raise
        except BaseException:
            self.drop()
            raise

    def head(self, size: int, end: float) -> bytes:
        """Of the request. Raises TimeoutError."""
        return self.server.protocol.head(self.method, size, None if self.streamed else left(end))

    def is_idle_end(self, exc: Exception) -> bool:
        """Whether the connection had ended while nobody used it: the server has not seen this request."""
        assert self.connection
        return self.connection.is_used and not self.reply.has_begun and not is_late(exc)

    def is_answer(self) -> bool:
        """Once its head is here; what comes is an error if not. Raises VaeError."""
        assert self.connection
        self.connection.is_used = True
        return self.server.protocol.check_head(self.reply, streamed=self.streamed)

    def is_enough(self) -> bool:
        """Whether no more of the body is wanted. Raises VaeError."""
        return self.server.protocol.is_enough(self.reply)

    def raise_error(self) -> NoReturn:
        """The answer is an error, and it is here."""
        raise self.server.protocol.error(self.reply)

    def response(self) -> Any:
        """Of a call that is not streamed, once the answer is here. Raises VaeError."""
        return self.server.protocol.response(self.method, self.reply.take())

    def next_message(self) -> Any:
        """The next response of a stream if it is here; see ``has_ended``. Raises VaeError, CutOff."""
        self.envelopes.feed(self.reply.take())
        message = self.envelopes.message()
        if message is not None:
            return self.server.protocol.response(self.method, message)
        if self.reply.is_whole and not self.envelopes.has_ended:
            raise CutOff("the stream ended before its end")
        return None

    @property
    def has_ended(self) -> bool:
        """Whether the server has said that no more responses come."""
        return self.envelopes.has_ended

    def leave(self) -> None:
        """The connection is for the next call if the answer was read to its end."""
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if self.reply.is_whole and self.reply.keeps_alive and not connection.is_spoiled:
            self.pool.give_back(connection)
        else:
            self.pool.drop(connection)

    def drop(self) -> None:
        """The connection is of no use any more."""
        if self.connection:
            self.pool.drop(self.connection)
            self.connection = None

    def _error(self, exc: Exception) -> VaeError:
        if self.pool.is_closed:
            return http_failures.closed()
        if is_late(exc):
            return (failures.no_response if self.streamed else failures.no_answer)(self.timeout_s)
        return http_failures.broken(self.server.origin, exc)
