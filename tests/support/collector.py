"""A collector of OpenTelemetry: takes spans by OTLP over HTTP, and can misbehave."""

import contextlib
import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support import patience


@dataclass(frozen=True)
class Span:
    """What the tests ask of a span; ids as in headers."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    """Empty of a root."""
    kind: int
    start_ns: int
    end_ns: int
    is_error: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    """Trace and span."""
    state: str
    resource: dict[str, Any]


@dataclass
class Collector:
    address: str
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request."""
    _spans: list[Span] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        """All that came so far."""
        return list(self._spans)

    async def until(self, enough: Callable[[list[Span]], object]) -> list[Span]:
        """The spans once they are what is wanted."""
        await patience.until(lambda: enough(self.spans))
        return self.spans

    async def served(self, count: int = 1) -> list[Span]:
        """The spans once there are those of so many calls."""
        return await self.until(lambda spans: len(calls(spans)) >= count)

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                self._spans.extend(_span(span, resource) for span in scope.spans)


def calls(spans: list[Span]) -> list[Span]:
    """Those of calls as a whole."""
    return [span for span in spans if span.kind == 2]


def children(spans: list[Span], parent: Span, name: str) -> list[Span]:
    """Those of that name right below it."""
    return [
        span
        for span in spans
        if (span.name, span.trace_id, span.parent_id) == (name, parent.trace_id, parent.span_id)
    ]


Behave = Callable[[BaseHTTPRequestHandler], None]
"""Answers a request that was read."""


def accept(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@contextlib.contextmanager
def collecting(behave: Behave = accept) -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            found.take(body)
            with contextlib.suppress(OSError):  # the other end has gone
                behave(self)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    found = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=_plain(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        state=span.trace_state,
        resource=resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}
