"""What a request costs the event loop."""

import time

_MEASURED_REQUESTS = 32
"""Requests between two looks at the clock of the thread."""
_SMOOTHING = 0.3
"""Weight of the newest look in the running mean."""
_PRESUMED_S = 0.00012
"""Before the first look: a request of one row, where this was written."""


class LoopCost:
    """CPU seconds of the calling thread for each request, gRPC's part in it included: a running mean.

    Measured, because on a shared host it doubles from one minute to the next, as a graph's time does.
    """

    def __init__(self) -> None:
        self.seconds = _PRESUMED_S
        self._requests = 0
        self._since = time.thread_time()

    def came(self) -> None:
        """A request, on the loop's thread."""
        self._requests += 1
        if self._requests == _MEASURED_REQUESTS:
            now = time.thread_time()
            self.seconds += ((now - self._since) / self._requests - self.seconds) * _SMOOTHING
            self._requests, self._since = 0, now
