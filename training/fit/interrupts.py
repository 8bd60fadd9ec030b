"""Ctrl-C and SIGTERM during a training: finish the step, save, say how to go on."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Becomes true once a signal has come."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextlib.contextmanager
def deferred() -> Iterator[StopRequest]:
    """Within, the first signal only asks to stop; the second acts as it always did."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield request
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _: FrameType | None) -> None:
        request.signal = number
        restore()

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()
