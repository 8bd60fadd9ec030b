"""One call that came by HTTP: what the frame asks of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from serving.api.frame import Answer
from serving.doors.bodies import Bodies
from serving.doors.http.codecs import Codec
from serving.doors.http.transport.exchange import Exchange
from serving.errors import DeadlineUnreachable, ServingError


class HttpCall:
    """See ``serving.api.frame.Call``."""

    __slots__ = (
        "_bodies",
        "_codec",
        "_deadline",
        "_exchange",
        "_limit",
        "_loop",
        "problem",
        "send",
        "wants_body",
    )

    def __init__(
        self, exchange: Exchange, bodies: Bodies, codec: Codec, *, limit: int, timeout_s: float | None
    ) -> None:
        """``limit``: bytes that a body may have."""
        self._exchange, self._bodies, self._codec, self._limit = exchange, bodies, codec, limit
        self._loop = asyncio.get_running_loop()
        self._deadline = None if timeout_s is None else self._loop.time() + timeout_s
        self.problem: ServingError | None = None
        """What is wrong with what came before the body."""
        self.wants_body = True
        self.send: Callable[[bytes], Awaitable[None]] | None = None
        """Sends one of several responses."""

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    def invocation_metadata(self) -> Iterable[tuple[str, str]]:
        return self._exchange.headers.items()

    async def read(self) -> bytes:
        """The request's message; see ``Call``, and RequestTooLarge."""
        if self.problem:
            raise self.problem
        body = self._exchange.whole(self._limit) if self.wants_body else b""
        if body is None:
            body = await self._bodies.read(lambda: self._exchange.body(self._limit))
        return await self._codec.request(body)

    async def next(self) -> bytes | None:
        raise AssertionError("no method that reads several messages is offered here")

    async def write(self, response: bytes) -> None:
        assert self.send
        await self.send(await self._codec.response(response))

    async def answered_by(self, answer: Answer) -> bytes:
        """What leaves; empty of a method that sends its responses. Raises ServingError, CallerLeft."""
        if self._deadline is None:
            response = await answer(self)
        else:
            try:
                async with asyncio.timeout_at(self._deadline):
                    response = await answer(self)
            except TimeoutError:
                raise DeadlineUnreachable("the caller's deadline passed before there was an answer") from None
        return b"" if response is None else await self._codec.response(response)
