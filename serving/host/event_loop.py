"""The event loop of the server, and what keeps the garbage collector out of its way."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

_YOUNG_OBJECTS = 10_000
"""Allocations between two looks at the youngest objects; Python's 700 are a few requests."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run``, on uvloop; the last thing that a process does.

    The loop takes its signal handlers with it, and Python needs a moment to end: who asks again meanwhile, as
    a terminal and a parent do at once, would see a server that had stopped in order die of a signal.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def spare_collector() -> None:
    """Call once all that stays is loaded, and again when it has changed.

    What lives as long as the server is not looked at again: a full collection over it stops every request
    for tens of milliseconds. What went since the last call is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
