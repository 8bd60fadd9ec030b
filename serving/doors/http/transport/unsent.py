"""Answers that wait for their readers: for how long, and how much all of them may hold."""

import asyncio
from collections.abc import Awaitable, Callable

from serving.errors import CallerLeft

UNREAD_S = 300.0
"""How long an answer may wait for its reader to take anything, and one of several messages to be taken: what
stands behind that, a replaced model say, waits as well."""
_EACH = 16 << 10
"""Bytes that one takes besides, about: a stream, a task, a request."""


class Unsent:
    """Those of a door. An answer that is taken as fast as it is written is never here, and costs nothing."""

    def __init__(self, most: int, given_up: Callable[[], None]) -> None:
        """``most``: bytes; ``given_up`` hears of each answer that is waited for no longer."""
        self._most, self._given_up = most, given_up
        self._bytes = 0
        self._waiting: dict[asyncio.Timeout, int] = {}
        """What each holds; the one whose reader has taken nothing for longest is first."""

    async def until(self, readable: "asyncio.Future[None]", held: int) -> None:
        """Wait for the reader of an answer that holds so many bytes. Raises CallerLeft."""
        try:
            async with asyncio.timeout(UNREAD_S) as wait:
                self._waiting[wait] = held + _EACH
                self._bytes += held + _EACH
                self._make_room()
                try:
                    await readable
                finally:
                    self._forget(wait)
        except TimeoutError:
            self._given_up()
            raise CallerLeft from None

    async def in_time(self, sending: Awaitable[None]) -> None:
        """One of several messages, however slowly it goes: what stands behind it waits. Raises CallerLeft."""
        try:
            async with asyncio.timeout(UNREAD_S):
                await sending
        except TimeoutError:
            self._given_up()
            raise CallerLeft from None

    def _make_room(self) -> None:
        """At the cost of the slowest: were new ones refused, who reads nothing would keep out all others."""
        while self._bytes > self._most:
            slowest = next(iter(self._waiting))
            self._forget(slowest)
            if not slowest.expired():
                slowest.reschedule(asyncio.get_running_loop().time())

    def _forget(self, wait: asyncio.Timeout) -> None:
        self._bytes -= self._waiting.pop(wait, 0)
