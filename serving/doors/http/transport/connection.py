"""What connections of every version of HTTP have in common: their tasks, their pauses and their end."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from serving.doors.http.transport.exchange import Exchange, Refused
from serving.doors.http.transport.unsent import Unsent
from serving.errors import CallerLeft

Route = Callable[[Exchange], Awaitable[None]]
"""Answers a request; raises nothing but CallerLeft."""

LONGEST_HEAD = 32 << 10
"""Bytes of a request's line and headers."""
_HEAD_S = 10.0
"""In which a request's headers must be here, once it has begun."""
_IDLE_S = 75.0
"""Of a connection without a request; longer than the usual proxy keeps one, so that it closes first."""
_LINGER_S = 2.0
"""In which a caller that was refused in the middle of its body may read why."""
_FLUSH_S = 60.0
"""In which the end of the last answer must have been taken."""


@dataclass
class Terms:
    """What all connections of a door share."""

    route: Route
    max_streams: int
    max_age_s: float
    """After which a connection is ended with the next answer; 0 never."""
    unsent: Unsent
    refused: Refused
    is_closing: bool = False
    connections: "set[Connection]" = field(default_factory=set)


class Connection(ABC):
    """Of one version of HTTP, over a transport that is there already."""

    def __init__(self, transport: asyncio.Transport, terms: Terms) -> None:
        self.transport = transport
        self.terms, self.unsent = terms, terms.unsent
        self.loop = asyncio.get_running_loop()
        self.since = self.born = self.loop.time()
        """When what is waited for began."""
        self.tasks: dict[asyncio.Task[None], Exchange] = {}
        self._writable: asyncio.Future[None] | None = None
        self._dies_at: float | None = None
        """When its end has begun: what is not gone by then is cut off."""
        self.is_lost = False
        self.has_asked = False
        """Whether the whole head of a request has come."""

    @abstractmethod
    def receive(self, data: bytes) -> None:
        """Bytes came."""

    @abstractmethod
    def close_when_idle(self) -> None:
        """Take no more requests; close once those that are here are answered."""

    @property
    @abstractmethod
    def is_in_head(self) -> bool:
        """Whether a request has begun whose headers are not complete."""

    def start(self, exchange: Exchange) -> None:
        """Answer it in a task of its own."""
        self.has_asked = True
        task = self.loop.create_task(self._run(exchange))
        self.tasks[task] = exchange
        task.add_done_callback(self._ended)  # of one that was cancelled before it began nothing else hears

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self.terms.route(exchange)
        except CallerLeft:
            self._left(exchange)

    def _ended(self, task: asyncio.Task[None]) -> None:
        exchange = self.tasks.pop(task)
        if exchange.refusal:
            self.terms.refused(exchange.refusal)
        self.since = self.loop.time()
        if not self.is_lost:
            self._done(exchange)

    @abstractmethod
    def _left(self, exchange: Exchange) -> None:
        """The caller of a request does not take its answer."""

    @abstractmethod
    def _done(self, exchange: Exchange) -> None:
        """The handler of a request has ended."""

    @property
    def is_old(self) -> bool:
        """Whether it is to end with the next answer."""
        age = self.terms.max_age_s
        return self.terms.is_closing or bool(age and self.loop.time() - self.born > age)

    @property
    def is_ending(self) -> bool:
        """Whether the last has been written."""
        return self._dies_at is not None

    def lost(self) -> None:
        """Nobody is there any more."""
        self.is_lost = True
        self.resume_writing()
        for task in list(self.tasks):
            task.cancel()

    def abort(self) -> None:
        self.transport.abort()

    def close(self) -> None:
        """Once what was written has left."""
        self._dies_at = self.loop.time() + _FLUSH_S
        self.transport.close()

    def linger(self) -> None:
        """Close, but let what was written arrive: a caller that still sends would be reset before."""
        self._dies_at = self.loop.time() + _LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def look(self, now: float) -> None:
        """Once in a while: end what has waited for too long."""
        waited = now - self.since
        if self._dies_at is not None:
            if now > self._dies_at:
                self.abort()
        elif self.tasks:  # whatever comes meanwhile has time until they are answered
            return
        elif self.is_in_head:
            if waited > _HEAD_S:
                self.terms.refused("slow_head")
                self.abort()
        elif waited > _IDLE_S or self.is_old:
            self.close_when_idle()

    def retire(self) -> None:
        """``close_when_idle``, unless its end has begun already."""
        if not self.is_ending:
            self.close_when_idle()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self.loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable and not writable.done():
            writable.set_result(None)

    async def drained(self, held: int) -> None:
        """Until more can be written of an answer that holds so many bytes. Raises CallerLeft."""
        if self._writable is not None:
            await self.unsent.until(asyncio.shield(self._writable), held)
        if self.is_lost:
            raise CallerLeft
