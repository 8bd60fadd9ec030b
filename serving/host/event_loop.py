"""The event loop of the server, and what keeps gRPC's wake-ups and the garbage collector out of its way."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVarTuple

_YOUNG_OBJECTS = 10_000
"""Allocations between two looks at the youngest objects; Python's 700 are a few requests."""

T = TypeVarTuple("T")

_WAKE_UPS = 128
"""Bytes of ``WakeUps`` read at once: events of some 30 requests."""


def run(main: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run``, on uvloop where that exists."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(main)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # it has no wheels for Windows
        return asyncio.new_event_loop()

    class Loop(uvloop.Loop):
        """uvloop's, but gRPC's wake-ups are read all at once."""

        def add_reader(self, fd: Any, callback: Callable[[*T], object], *args: *T) -> None:
            if isinstance(fd, socket.socket) and _is_of_grpc(callback):
                with contextlib.suppress(TypeError):  # a class of somebody else's, with a layout of its own
                    fd.__class__ = WakeUps
            super().add_reader(fd, callback, *args)

    return Loop()


class WakeUps(socket.socket):
    """The socket on which gRPC's thread wakes the loop, read empty at once.

    The thread writes a byte for each event, several a request. The loop's side reads one byte and then
    handles every event there is, so under load most turns of the loop read a byte and find nothing: a
    twentieth of all it can do. An event is there before its byte, so none is missed if the bytes of
    several are read together.

    Source: ``PollerCompletionQueue`` in grpcio's ``completion_queue.pyx.pxi``.
    """

    __slots__ = ()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        return super().recv(max(bufsize, _WAKE_UPS), flags)


def _is_of_grpc(callback: Any) -> bool:
    method = getattr(callback, "func", callback)  # of a functools.partial
    return type(getattr(method, "__self__", None)).__name__ == "PollerCompletionQueue"


def spare_collector() -> None:
    """Call once all that stays is loaded, and again when it has changed.

    What lives as long as the server is not looked at again: a full collection over it stops every request
    for tens of milliseconds. What went since the last call is collected first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
