"""Short batches on the event loop's own thread, on a GPU too.

To hand one row to another thread and back takes longer than most graphs take for it. ONNX Runtime keeps a
recorded CUDA graph for the thread that recorded it, so the loop records its own, of the few sizes that are
worth it, while the executors' thread stands still: whatever that did on the GPU meanwhile would spoil it.
"""

import asyncio
import logging
from collections.abc import Callable

from serving.batching.batch import Rows
from serving.batching.executors import Executors
from serving.runtime.cuda_driver import alone
from serving.runtime.session import Session

log = logging.getLogger(__name__)

SIZES = (1, 2, 4, 8)
"""Rows; of more, a hand-over is the smaller part."""
_AGAIN_S = 0.01


async def record(
    session: Session, example: Callable[[int], list[Rows]], most_rows: int, executors: Executors
) -> int:
    """Prepare runs on this thread; returns the most rows of such a run, 0 if there can be none.

    ``example`` gives the inputs of a run of so many rows. The loop is held up for some milliseconds each.
    """
    ready = 0
    for rows in SIZES:
        if rows > most_rows:
            break
        try:
            await _record(session, example(rows), executors)
        except Exception as exc:  # ONNX Runtime's exceptions share no other base
            log.warning("short batches take the way of long ones: %s", str(exc).splitlines()[:1])
            break
        ready = rows
    return ready


async def _record(session: Session, batch: list[Rows], executors: Executors) -> None:
    while True:
        async with executors.parked():
            if alone.acquire(blocking=False):
                try:
                    return session.record_here(*batch)
                finally:
                    alone.release()
        await asyncio.sleep(_AGAIN_S)  # a session is being made, which takes its time
