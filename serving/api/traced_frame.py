"""The frame of a server that traces its calls; one that does not has ``Frame`` alone."""

from collections.abc import Awaitable, Callable
from functools import cache, partial

from serving.api.frame import Answer, Call, Frame, Method
from serving.api.methods import SERVICE
from serving.metrics.registry import UNKNOWN, CallMetrics, Metrics
from serving.models.repository import Repository
from serving.tracing.call_trace import CallTrace, current
from serving.tracing.tracer import Metadata, Tracer


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
        name, begin, system_of = method.path[1:], self._tracer.begin, _system_of(method, transport)

        def traced(call: Call) -> Awaitable[bytes | None]:
            metadata = call.invocation_metadata()
            trace = begin(name, metadata)
            if trace is None:
                return answer(call)
            trace.system = system_of(metadata)
            return self._recorded(answer, call, trace)

        return traced

    async def _recorded(self, answer: Answer, call: Call, trace: CallTrace) -> bytes | None:
        token = current.set(trace)
        try:
            return await answer(call)
        finally:
            current.reset(token)
            self._tracer.end(trace)


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
            self._duration.exemplify(seconds, trace.trace_id, trace.span_id)


def _system_of(method: Method, transport: str) -> Callable[[Metadata], str]:
    """What the conventions call the protocol of a call: ``rpc.system.name``."""
    if transport == "grpc":
        return lambda metadata: "grpc"
    otherwise = "connectrpc" if method.service == SERVICE else "http"

    def system(metadata: Metadata) -> str:
        kind = str(dict(metadata).get("content-type", ""))
        return "grpc" if kind.startswith("application/grpc") else otherwise

    return system
