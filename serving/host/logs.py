"""Log lines on stderr, text for people, JSON for collectors; and the one line on stdout, for scripts."""

import errno
import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

_WHILE_S = 10.0
_A_FEW = 10
"""Lines of one kind in such a while."""
NO_TRACE = {"trace_id": "", "span_id": ""}
"""As ``extra`` of a line that is not about the call in whose context it happens to be logged."""


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= _ids(record)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the line, without a traceback
        return " ".join((super().formatMessage(record), *(f"{k}={v}" for k, v in _ids(record).items())))


def _ids(record: logging.LogRecord) -> dict[str, str]:
    """Of the trace that a line belongs to; the names are OpenTelemetry's for logs in any form."""
    return {name: shown for name in NO_TRACE if (shown := getattr(record, name, ""))}


class _Telling(logging.Filter):
    def __init__(self, ids: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._of_now = ids

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "trace_id"):
            record.__dict__.update(self._of_now())
        return True


@contextmanager
def lines_tell(ids: Callable[[], Mapping[str, str]]) -> Iterator[None]:
    """Lines say which trace they belong to: that of their ``extra``, or else the one of now."""
    telling = _Telling(ids)
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(telling)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(telling)


class Sparing(logging.Filter):
    """Of warnings and errors from one line of code a few in a while, and later how many were left out.

    What strangers send must not fill the disk of the host. What is told once each they cannot repeat.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: defaultdict[tuple[str, int], _Kind] = defaultdict(_Kind)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or getattr(record, "told_once", False):
            return True
        kind = self._kinds[record.pathname, record.lineno]
        now = time.monotonic()
        if now - kind.since >= _WHILE_S:
            left_out, kind.since, kind.count = max(kind.count - _A_FEW, 0), now, 0
            if left_out:
                record.msg = f"{record.getMessage()} (and {left_out} more like it in the time before)"
                record.args = ()
        kind.count += 1
        return kind.count <= _A_FEW


class _Kind:
    def __init__(self) -> None:
        self.since = -_WHILE_S
        self.count = 0


def say(line: str) -> None:
    """On stdout. That it cannot be written, on a full disk say, is no reason not to serve."""
    try:
        if sys.stdout is None:  # and another file may have its number by now
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        os.write(sys.stdout.fileno(), f"{line}\n".encode())  # leaves nothing that fails again at the end
    except OSError as exc:
        logging.getLogger(__name__).warning("stdout: %s: %s", exc.strerror, line)


def say_ready(grpc_address: str, http_address: str, metrics_address: str) -> None:
    """Scripts read this line to learn the ports."""
    http = f" http={http_address}" if http_address else ""
    say(f"vaeserve ready: grpc={grpc_address} metrics={metrics_address}{http}")


def configure(form: Literal["text", "json"], level: str) -> None:
    """Send everything to stderr in the given form."""
    handler = logging.StreamHandler(sys.stderr)
    text = _Text("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_Json() if form == "json" else text)
    handler.addFilter(Sparing())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
