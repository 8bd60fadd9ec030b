"""Which calls are sent again, and when: the same over gRPC, which does it itself, and over HTTP.

Source: gRFC A6 (client retries).
"""

import random

import grpc

MOST_ATTEMPTS = 5
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
GROWTH = 2.0
# A server that stops cancels what it has not looked at; what the caller cancels ends here.
WORTH_ANOTHER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_JITTER = 0.2


class Retries:
    """Of one call."""

    def __init__(self) -> None:
        self._attempts = 1

    def pause_after(self, code: grpc.StatusCode) -> float | None:
        """Seconds before the next attempt; None if there is to be none."""
        if code not in WORTH_ANOTHER or self._attempts >= MOST_ATTEMPTS:
            return None
        pause = min(FIRST_PAUSE_S * GROWTH ** (self._attempts - 1), LONGEST_PAUSE_S)
        self._attempts += 1
        return pause * random.uniform(1 - _JITTER, 1 + _JITTER)
