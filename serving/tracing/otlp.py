"""The only module that knows OpenTelemetry's libraries: calls as spans, and the way to a collector."""

import logging
import uuid
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from serving.tracing.call_trace import BatchRun, CallTrace, new_span_id
from serving.tracing.trace_context import Parent

_SCHEMA = "https://opentelemetry.io/schemas/1.45.0"
"""Of the semantic conventions that the names of attributes are from."""
_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Codes that are the server's fault; source: the semantic conventions for gRPC."""
_SAMPLED, _RANDOM = 1, 2
_MOST_LINKS = 128
"""Of a span; the specification's default."""
_MOST_REPLY_BYTES = 64 << 10
"""Of a collector's answer that are read."""
_EXPORTER_LOG = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
_STATE_LOG = logging.getLogger("opentelemetry.trace.span")
"""Where the library quotes what strangers send as tracestate."""


class Collector:
    """Sends spans by OTLP over HTTP; where to, and with what, OpenTelemetry's own variables say."""

    def __init__(self) -> None:
        """Raises ValueError, OSError and others for what is set wrong."""
        version = metadata.version("vaeserve")
        self._resource = _resource(version)
        self._scope = InstrumentationScope("vaeserve", version, _SCHEMA)
        self._session = _Brief()
        self._exporter = OTLPSpanExporter(session=self._session)
        self._reason, self._quotes = _Kept(), _Kept()
        _EXPORTER_LOG.addFilter(self._reason)
        _STATE_LOG.addFilter(self._quotes)

    def send(self, calls: Sequence[CallTrace]) -> str | None:
        """See ``outbox.Send``."""
        self._session.answer, self._reason.last = "", "no reason was given"
        result = self._exporter.export([span for call in calls for span in self.spans(call)])
        return None if result is SpanExportResult.SUCCESS else self._session.answer or self._reason.last

    def close(self) -> None:
        """Ends a wait for another try as well, but not for an answer."""
        self._exporter.shutdown()
        _EXPORTER_LOG.removeFilter(self._reason)
        _STATE_LOG.removeFilter(self._quotes)

    def spans(self, call: CallTrace) -> list[ReadableSpan]:
        """The call, then its waits in queues, then the batches that its rows were in."""
        state = TraceState.from_header([call.parent.state]) if call.parent and call.parent.state else None
        flags = TraceFlags(_SAMPLED | (call.parent.flags & _RANDOM if call.parent else _RANDOM))

        def context(span_id: int) -> SpanContext:
            return SpanContext(call.trace_id, span_id, False, flags, state)

        own = context(call.span_id)
        common: dict[str, Any] = {"resource": self._resource, "instrumentation_scope": self._scope}
        found = [_of_call(call, own, common)]
        for wait in call.waits:
            span = ReadableSpan(
                "queue",
                context(new_span_id()),
                own,
                attributes={"vae.graph": wait.graph.name, "vae.rows": wait.rows},
                start_time=call.at_ns(wait.queued_at),
                end_time=call.at_ns(wait.ended_at),
                **common,
            )
            found.append(span)
        for run, span_id, rows in call.runs:
            span = ReadableSpan(
                "graph",
                context(span_id),
                own,
                attributes={
                    "vae.graph": run.graph.name,
                    "vae.provider": run.graph.provider,
                    "vae.rows": rows,
                    "vae.batch.rows": run.rows,
                    "vae.batch.requests": run.requests,
                },
                links=_links(run, span_id),
                status=Status(StatusCode.ERROR) if run.failed else Status(),
                start_time=call.at_ns(run.started_at),
                end_time=call.at_ns(run.started_at + run.seconds),
                **common,
            )
            found.append(span)
        return found


def _of_call(call: CallTrace, own: SpanContext, common: dict[str, Any]) -> ReadableSpan:
    is_connect = call.system == "connectrpc"
    attributes: dict[str, str | int] = {
        "rpc.system.name": call.system,
        "rpc.method": call.name,
        "rpc.status_code": call.code.lower() if is_connect else call.code,
        "vae.batches": call.batches,
    }
    if is_connect and call.code == "OK":  # Connect has codes of errors alone
        del attributes["rpc.status_code"]
    is_error = call.code in _ERRORS
    if is_error:
        attributes["error.type"] = attributes["rpc.status_code"]
    if call.model:
        attributes["vae.model"] = call.model
    if call.rows:
        attributes["vae.version"] = call.version
        attributes["vae.rows"] = max(call.rows.values())
    return ReadableSpan(
        call.name,
        own,
        _remote(call.parent) if call.parent else None,
        attributes=attributes,
        kind=SpanKind.SERVER,
        status=Status(StatusCode.ERROR) if is_error else Status(),
        start_time=call.started_ns,
        end_time=call.at_ns(call.ended_at),
        **common,
    )


def _remote(parent: Parent) -> SpanContext:
    return SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, TraceFlags(parent.flags))


def _links(run: BatchRun, span_id: int) -> list[Link]:
    """Of the first call's span of a batch, to the other calls; of each of theirs, to the first's.

    So from any of the traces one comes to all of them, with as many links as calls and not with their square.
    """
    (trace_id, _, of_first), *others = list(run.members)
    if span_id != of_first:
        return [Link(_sampled(trace_id, of_first))]
    return [Link(_sampled(trace_id, of_call)) for trace_id, of_call, _ in others[:_MOST_LINKS]]


def _sampled(trace_id: int, span_id: int) -> SpanContext:
    return SpanContext(trace_id, span_id, False, TraceFlags(_SAMPLED))


def _resource(version: str) -> Resource:
    """What the variables say of the service; where they say nothing, what we know."""
    said = dict(Resource.create().attributes)
    if str(said[SERVICE_NAME]).startswith("unknown_service"):
        said[SERVICE_NAME] = "vaeserve"
    return Resource({SERVICE_VERSION: version, SERVICE_INSTANCE_ID: str(uuid.uuid4()), **said})


class _Brief(requests.Session):
    """Reads little of what a collector answers, and takes a redirection for the failure that it is."""

    answer = ""
    """The newest, in a few words."""

    def send(self, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
        response = super().send(request, **{**arguments, "stream": True, "allow_redirects": False})
        self.answer = f"it answers {response.status_code} {response.reason}"
        with response:
            if response.is_redirect:
                raise requests.TooManyRedirects(self.answer)
            response.raw.read(_MOST_REPLY_BYTES, decode_content=False)
        return response


class _Kept(logging.Filter):
    """Keeps lines from the log: what the exporter says of every request that fails, we say once."""

    last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        self.last = record.getMessage()
        return False
