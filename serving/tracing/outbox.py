"""Calls whose spans wait for the collector, and the thread that sends them.

Whatever the collector does, nobody waits for it: what does not fit is dropped, what does not arrive is lost,
both are counted, and a server that stops waits no longer than a moment.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from serving.errors import plain
from serving.host.abandonable import ABANDONABLE, abandonable
from serving.tracing.call_trace import CallTrace
from serving.tracing.standard_variables import Variables

log = logging.getLogger(__name__)

_CLOSE_S = 1.5
"""For what waits when the server has stopped."""
_PAUSES = 3
"""So many times as long as it computed, the thread leaves Python's lock to the event loop: OpenTelemetry's
encoder takes some 40 µs a span, and a call of one row 60 µs in all. Traces get a quarter of a core."""

Send = Callable[[Sequence[CallTrace]], str | None]
"""Sends the spans of some calls; what went wrong, if anything did."""


class Count(Protocol):
    """A counter; see ``serving.metrics.instruments.Count``."""

    value: float


class Outbox:
    """Takes calls from the event loop; its thread ends with ``aclose``."""

    def __init__(self, send: Send, limits: Variables, counts: Mapping[str, Count]) -> None:
        """``counts`` of spans: ``sent``, ``dropped`` here for want of room, ``failed`` to arrive."""
        self._send = send
        self._limits = limits
        self._sent, self._dropped, self._failed = (counts[name] for name in ("sent", "dropped", "failed"))
        self._calls: deque[tuple[CallTrace, int]] = deque()
        self._put = self._taken = self._done = 0
        """Spans; the loop counts the first, the thread the others, so that neither needs a lock."""
        self._wake = threading.Event()
        self._closing = self._left_behind = False
        self._is_losing = self._was_full = False
        self._thread = threading.Thread(target=self._work, name="tracing", daemon=True)
        self._thread.start()

    def put(self, call: CallTrace) -> None:
        """From the event loop's thread."""
        spans = call.spans
        waiting = self._put - self._taken + spans
        if waiting > self._limits.most_waiting:
            self._drop(spans)
            return
        self._put += spans
        self._calls.append((call, spans))
        if waiting >= self._limits.most_at_once and not self._wake.is_set():
            self._wake.set()

    async def aclose(self) -> None:
        """Send what waits, if that is a matter of a moment."""
        self._closing = True
        self._wake.set()
        await abandonable(lambda: self._thread.join(_CLOSE_S))
        if self._thread.is_alive():
            self._left_behind = True
            self._thread.name = ABANDONABLE
            log.warning("%d spans did not reach the collector in %.1f s", self._put - self._done, _CLOSE_S)

    def _drop(self, spans: int) -> None:
        self._dropped.value += spans
        if not self._was_full and not self._is_losing:
            self._was_full = True
            log.warning(
                "%d spans wait for the collector, as many as may; more are dropped, "
                'and counted in vae_trace_spans_total{outcome="dropped"}; this is said once',
                self._limits.most_waiting,
            )

    def _work(self) -> None:
        closing = False
        while not closing:
            closing = self._closing
            while self._calls and not self._left_behind:
                began = time.thread_time()
                self._send_some()
                if not self._closing:
                    time.sleep(_PAUSES * (time.thread_time() - began))
            if not closing:
                self._wake.wait(self._limits.delay_s)
                self._wake.clear()

    def _send_some(self) -> None:
        calls: list[CallTrace] = []
        spans = 0
        while self._calls and (not calls or spans + self._calls[0][1] <= self._limits.most_at_once):
            call, count = self._calls.popleft()
            calls.append(call)
            spans += count
        self._taken += spans
        try:
            problem = self._send(calls)
        except Exception as exc:
            problem = f"{type(exc).__name__}: {exc}"
        self._done += spans
        (self._failed if problem else self._sent).value += spans
        if problem and not self._is_losing:
            log.warning("spans do not reach the collector and are lost: %s", plain(problem))
        elif not problem and self._is_losing:
            log.info("spans reach the collector again; %d were lost so far", self._lost)
        self._is_losing = bool(problem)

    @property
    def _lost(self) -> float:
        return self._failed.value + self._dropped.value
