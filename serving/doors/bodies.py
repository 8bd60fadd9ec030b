"""Messages of requests on their way in: how long one may take, and how many may be late at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.errors import RequestUnfinished, TooManyCalls

T = TypeVar("T")

_PROMPT_S = 2.0
"""A message that takes longer than this is late: what has come of it is kept all the while."""
_LATE_BYTES = 1 << 30
"""Of late messages at most, each taken for as large as one may be."""
_RETRY_AFTER_S = 1.0


class Bodies:
    """One for a door; belongs to its event loop."""

    def __init__(self, limit_s: float, message_bytes: int) -> None:
        """``limit_s``: seconds a message may take; ``message_bytes``: the most it may have."""
        self._limit_s = limit_s
        self._most_late = max(1, _LATE_BYTES // message_bytes)
        self._late: set[asyncio.Timeout] = set()

    async def read(self, receive: Callable[[], Awaitable[T]]) -> T:
        """What ``receive`` gives. Raises RequestUnfinished, or TooManyCalls when too many others are late."""
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(self._limit_s)
        look = loop.call_later(min(_PROMPT_S, self._limit_s), self._is_late, limit)
        try:
            async with limit:
                return await receive()
        except TimeoutError:
            if limit in self._late:
                raise RequestUnfinished(
                    f"request: want the whole message within {self._limit_s:g} s, it was not here"
                ) from None
            raise TooManyCalls(
                f"request: {self._most_late} messages have been on their way for {_PROMPT_S:g} s and more, "
                "as many as may be",
                _RETRY_AFTER_S,
            ) from None
        finally:
            look.cancel()
            self._late.discard(limit)

    def _is_late(self, limit: asyncio.Timeout) -> None:
        if len(self._late) < self._most_late:
            self._late.add(limit)
        else:
            limit.reschedule(asyncio.get_running_loop().time())
