"""The frame of a server that traces its calls; one that does not has ``Frame`` alone."""

import asyncio
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from serving.api.frame import Answer, Call, Frame, Method
from serving.api.methods import SERVICE
from serving.metrics.registry import UNKNOWN, CallMetrics, Metrics
from serving.models.repository import Repository
from serving.tracing.call_trace import current
from serving.tracing.tracer import Tracer

_NEARLY_S = 0.002
"""A call that is cut off so shortly before its deadline was cut off by it; clocks differ."""


class TracedFrame(Frame):
    """A span around every call but probes, and what the metrics hear of a call told to its trace as well."""

    def __init__(
        self, repository: Repository, metrics: Metrics, *, max_calls: int, max_rows: int, tracer: Tracer
    ) -> None:
        super().__init__(repository, metrics, max_calls=max_calls, max_rows=max_rows)
        self._series = cache(partial(_TracedMetrics, metrics))
        self._tracer = tracer

    def answer(self, method: Method, *, transport: str, is_part: bool = False) -> Answer:
        """See ``Frame``; a part belongs to the trace of its call."""
        answer = super().answer(method, transport=transport, is_part=is_part)
        if is_part or method.is_open:
            return answer
        name, tracer, system_of = method.path[1:], self._tracer, _system_of(method, transport)

        async def traced(call: Call) -> bytes | None:
            trace = tracer.begin(name, system_of(call), call.invocation_metadata())
            token = current.set(trace)
            try:
                return await answer(call)
            except asyncio.CancelledError:
                left = call.time_remaining()
                if left is not None and left < _NEARLY_S:
                    trace.code = "DEADLINE_EXCEEDED"
                raise
            finally:
                current.reset(token)
                tracer.end(trace)

        return traced


class _TracedMetrics(CallMetrics):
    def __init__(self, metrics: Metrics, model: str, method: str) -> None:
        super().__init__(metrics, model, method)
        self._model = "" if model == UNKNOWN else model

    def done(self, code: str, transport: str, seconds: float) -> None:
        super().done(code, transport, seconds)
        trace = current.get()
        if trace:
            trace.code = code
            trace.model = self._model or trace.model  # the call around its parts is about none
            if trace.sampled:
                self._duration.exemplify(seconds, trace.ids)


def _system_of(method: Method, transport: str) -> Callable[[Call], str]:
    """What the conventions call the protocol of a call: ``rpc.system.name``."""
    if transport == "grpc":
        return lambda call: "grpc"
    otherwise = "connectrpc" if method.service == SERVICE else "http"

    def system(call: Call) -> str:
        headers: dict[str, Any] = dict(call.invocation_metadata())
        return "grpc" if str(headers.get("content-type", "")).startswith("application/grpc") else otherwise

    return system
