"""Work that nobody can stop: a read from storage that is gone, a graph that never ends."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

ABANDONABLE = "abandonable"
"""Name of a thread while it does such work."""


async def abandonable(work: Callable[[], T]) -> T:
    """``work`` on a thread of its own.

    Unlike with ``asyncio.to_thread`` neither the loop nor the process waits for it: whoever is cancelled
    leaves it behind.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def told(result: T | None, problem: BaseException | None) -> None:
        if outcome.done():  # left behind
            return
        if problem is not None:
            outcome.set_exception(problem)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, problem = None, None
        try:
            result = work()
        except BaseException as exc:
            problem = exc
        try:
            loop.call_soon_threadsafe(told, result, problem)
        except RuntimeError:  # the loop is closed
            return

    threading.Thread(target=run, name=ABANDONABLE, daemon=True).start()
    return await outcome


def leave(code: int) -> None:
    """End the process at once if such work is left behind: an orderly end would take what it uses from it."""
    if any(thread.name == ABANDONABLE for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
