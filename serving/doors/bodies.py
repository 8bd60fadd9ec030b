"""Messages of requests on their way in: how long one may take, and how many may be late at once.

A timer for each call would cost a fast model a tenth of its calls. So whoever waits is noted, and looked at
twice a second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serving.errors import RequestUnfinished, ServingError, TooManyCalls

T = TypeVar("T")

_LOOK_S = 0.5
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
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Task[object], float] = {}
        """Since when, the longest first."""
        self._given_up: dict[asyncio.Task[object], ServingError] = {}
        self._looks = False
        self._over: ServingError | None = None
        """Why nothing is read any more."""

    async def read(self, receive: Callable[[], Awaitable[T]]) -> T:
        """What ``receive`` gives. Raises RequestUnfinished, or TooManyCalls when too many others are late."""
        if self._over:
            raise self._over
        task = asyncio.current_task()
        assert task
        self._waiting[task] = self._loop.time()
        if not self._looks:
            self._looks = True
            self._loop.call_later(_LOOK_S, self._look)
        try:
            return await receive()
        except asyncio.CancelledError:
            reason = self._given_up.get(task)
            if reason is None:  # the caller left
                raise
            task.uncancel()
            raise reason from None
        finally:
            del self._waiting[task]
            self._given_up.pop(task, None)
            del task  # or it, its error and this frame would hold each other, and what came

    def give_up(self, reason: ServingError) -> None:
        """On all that have not come, and on all that would be waited for: nothing was begun for them."""
        self._over = reason
        for task in self._waiting:
            self._given_up.setdefault(task, reason)
            task.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        late = 0
        for task, since in self._waiting.items():
            if now - since < min(_PROMPT_S, self._limit_s):
                break
            if now - since >= self._limit_s:
                reason: ServingError = RequestUnfinished(
                    f"request: want the whole message within {self._limit_s:g} s, it was not here"
                )
            elif late < self._most_late:
                late += 1
                continue
            else:
                reason = TooManyCalls(
                    f"request: {late} messages have been on their way for {_PROMPT_S:g} s and more, "
                    "as many as may be",
                    _RETRY_AFTER_S,
                )
            if task not in self._given_up:
                self._given_up[task] = reason
                task.cancel()
        self._looks = bool(self._waiting)
        if self._looks:
            self._loop.call_later(_LOOK_S, self._look)
