"""How long to wait for what must happen: on a busy machine it may take minutes, and only a hang takes them all."""

import asyncio
import time
from collections.abc import Callable

SECONDS = 240.0
_PAUSE_S = 0.005


async def until(condition: Callable[[], object]) -> None:
    """Returns once it is true."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(_PAUSE_S)


def wait_until(condition: Callable[[], object], explain: Callable[[], str] = str) -> None:
    """The same, holding up the thread."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, explain() or "it did not come true"
        time.sleep(_PAUSE_S)
