"""What can go wrong, in the terms of this service. Nothing here knows of gRPC.

Every message is written for the caller: it names the field, what was wanted and what came.
``serving.api.status`` has the one table that maps these classes to gRPC codes.
"""

from typing import ClassVar

_LONGEST = 400
"""Letters of a line about something from outside."""
_LONGEST_BYTES = 400
"""Of one text of an error. It travels up to four times, in headers that hold some 8 kB, and letters beyond
ASCII take three times as many bytes there."""


def plain(text: str, most: int = _LONGEST) -> str:
    """One line of printable characters, so many at most: no name of a file forges a line of the log."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def quoted(value: object) -> str:
    """The same in quotes, 100 characters at most."""
    return f"'{plain(str(value), 98)}'"


def _short(text: str) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= _LONGEST_BYTES:
        return text
    return f"{raw[:_LONGEST_BYTES].decode(errors='ignore')}…"


_SHORT_OF_MEMORY = ("out of memory", "allocate memory", "smaller than requested bytes", "ALLOC_FAILED")


def is_short_of_memory(exc: Exception) -> bool:
    """Whether it says so: Python's own, and ONNX Runtime's, which have no kind of their own for it."""
    return isinstance(exc, MemoryError) or any(words in str(exc) for words in _SHORT_OF_MEMORY)


class GpuLost(Exception):
    """The GPU cannot be used any more by this process; one line."""


class StartupError(Exception):
    """The service cannot start as configured; one line, fit to be shown."""


class CallerLeft(Exception):
    """The caller hung up or was cut off in the middle of its answer: there is nobody left to tell."""


class ServingError(Exception):
    """A request that was not answered."""

    reason: ClassVar[str]
    """UPPER_SNAKE identifier, stable for programs (google.rpc.ErrorInfo.reason)."""

    def __init__(self, description: str) -> None:
        super().__init__(_short(description))


class InvalidInput(ServingError):
    """The request itself is wrong; sending it again is no use."""

    reason = "INVALID_INPUT"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}")
        self.field = field
        self.description = _short(description)


class NotFound(ServingError):
    """The request names something that is not here."""

    reason = "NOT_FOUND"

    def __init__(self, kind: str, name: str, description: str) -> None:
        super().__init__(description)
        self.kind = kind
        self.name = plain(name, 100)


class NotOffered(ServingError):
    """The model in service cannot do this, whatever the request; a bundle with what is missing could."""

    reason = "NOT_OFFERED"

    def __init__(self, missing: str, description: str) -> None:
        super().__init__(description)
        self.missing = missing


class Overloaded(ServingError):
    """The queue is full; the same request may succeed after ``retry_after_s``."""

    reason = "QUEUE_FULL"

    def __init__(self, description: str, retry_after_s: float) -> None:
        super().__init__(description)
        self.retry_after_s = retry_after_s


class TooManyCalls(Overloaded):
    """As many calls are in progress as may be."""

    reason = "TOO_MANY_CALLS"


class MemoryShort(Overloaded):
    """There was no memory for the batch; for fewer rows, or later, there may be."""

    reason = "MEMORY_SHORT"


class RequestUnfinished(ServingError):
    """The request's message was not here in time."""

    reason = "REQUEST_UNFINISHED"


class RequestTooLarge(ServingError):
    """The request's message is larger than the server takes."""

    reason = "REQUEST_TOO_LARGE"


class Unsupported(ServingError):
    """A way to send a request that this server does not take."""

    reason = "UNSUPPORTED"


class DeadlineUnreachable(ServingError):
    """The caller's deadline would pass before an answer could be ready."""

    reason = "DEADLINE_UNREACHABLE"


class ShuttingDown(ServingError):
    """This replica accepts no more work; another one will."""

    reason = "SHUTTING_DOWN"


class Unauthenticated(ServingError):
    """The call carries no token, or a wrong one."""

    reason = "UNAUTHENTICATED"


class OutputNotFinite(ServingError):
    """The model answers these rows with NaN or infinity; others it may answer well."""

    reason = "OUTPUT_NOT_FINITE"


class ExecutionFailed(ServingError):
    """The model could not be run; what happened is in the log, never in this message."""

    reason = "EXECUTION_FAILED"
