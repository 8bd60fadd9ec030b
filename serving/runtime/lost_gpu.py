"""A GPU that cannot be used any more: fallen off the bus, or with a context that an error has spoiled.

Nothing in the process mends that, every later call fails; a new process may find the GPU well again.
"""

import asyncio
from collections.abc import Callable

_LOOK_S = 5.0


async def until_lost(memory: Callable[[], object], look_s: float = _LOOK_S) -> str:
    """Returns why, as soon as the GPU does not even say how much memory it has."""
    while True:
        try:
            await asyncio.to_thread(memory)
        except MemoryError:  # none left to say it
            pass
        except RuntimeError as exc:
            return str(exc)
        await asyncio.sleep(look_s)
