"""Traces of calls: which are recorded, and where they go. Off, nothing here runs, and no OpenTelemetry."""

import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from serving.errors import StartupError, plain
from serving.host import logs
from serving.tracing.call_trace import CallTrace, current
from serving.tracing.outbox import Count, Outbox
from serving.tracing.standard_variables import Sampling, read
from serving.tracing.trace_context import SAMPLED, Parent, parent_of

if TYPE_CHECKING:
    from serving.tracing.otlp import Collector

log = logging.getLogger(__name__)

Put = Callable[[CallTrace], None]
Metadata = Iterable[tuple[str, str | bytes]]

_caller: ContextVar[Parent | None] = ContextVar("caller_of_unrecorded_call", default=None)
"""Set within the task of a call that is not recorded, for its lines in the log."""


class Tracer:
    """Begins and ends the traces of calls, on the event loop."""

    def __init__(self, sampling: Sampling, put: Put) -> None:
        """``put`` takes each call that is recorded, once it has ended."""
        self._sampling = sampling
        self._put = put

    def begin(self, name: str, metadata: Metadata) -> CallTrace | None:
        """A call of this method with these headers; None if it is not to be recorded."""
        parent, sampling = parent_of(metadata), self._sampling
        if parent is None:
            trace_id = random.getrandbits(128) or 1
            return CallTrace(name, trace_id, None) if sampling.takes(trace_id) else None
        trace_id = int(parent.trace_id, 16)
        if parent.flags & SAMPLED if sampling.parent_based else sampling.takes(trace_id):
            return CallTrace(name, trace_id, parent)
        _caller.set(parent)
        return None

    def end(self, call: CallTrace) -> None:
        call.ended_at = time.perf_counter()
        self._put(call)


@asynccontextmanager
async def tracing(counts: Mapping[str, Count]) -> AsyncIterator[Tracer | None]:
    """To a collector, as OpenTelemetry's variables say; None if they say that there is to be none of it.

    ``counts``: see ``Outbox``. Raises StartupError.
    """
    variables = read(os.environ)
    if variables.disabled:
        log.info("no traces: OTEL_SDK_DISABLED is true, or OTEL_TRACES_EXPORTER none")
        yield None
        return
    collector = _collector()
    outbox = Outbox(collector.send, variables, counts)
    with logs.lines_tell(_ids):
        try:
            yield Tracer(variables.sampling, outbox.put)
        finally:
            await outbox.aclose()
            collector.close()


def _collector() -> "Collector":
    try:
        from serving.tracing.otlp import Collector
    except ImportError as exc:
        raise StartupError(
            f"--tracing on: want OpenTelemetry installed, pip install 'vaeserve[tracing]' ({plain(str(exc))})"
        ) from None
    try:
        return Collector()
    except Exception as exc:  # of many kinds: files of certificates, what variables say
        raise StartupError(f"--tracing on: {plain(str(exc))}") from None


def _ids() -> Mapping[str, str]:
    call = current.get() or _caller.get()
    return call.ids if call else {}
