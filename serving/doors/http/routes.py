"""Which address is answered by what, CORS, and what is said to addresses and types that are not ours."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from serving.doors.http.http_status import JSON, refuse, refuse_request
from serving.doors.http.transport.exchange import Exchange
from serving.doors.http.transport.server_names import ServerNames
from serving.errors import CallerLeft, ServingError, quoted

log = logging.getLogger(__name__)

Endpoint = Callable[[Exchange], Awaitable[None]]

_CORS_HEADERS = (
    "authorization, connect-protocol-version, connect-timeout-ms, content-type, grpc-timeout, "
    "inference-header-content-length, traceparent, tracestate, x-grpc-web, x-user-agent"
)
_EXPOSED = "grpc-message, grpc-status, grpc-status-details-bin, inference-header-content-length, retry-after"
_REMEMBER_S = "7200"


@dataclass
class Resource:
    """What there is at one address."""

    get: Endpoint | None = None
    post: dict[str, Endpoint] = field(default_factory=dict)
    """By media type."""

    @property
    def methods(self) -> list[str]:
        found = ["POST"] if self.post else []
        return ["GET", "HEAD", *found] if self.get else found


Elsewhere = Callable[[str], Resource | None]
"""Of a path what is there."""


class Routes:
    """Answers every request with what is at its address."""

    def __init__(
        self,
        resources: Mapping[str, Resource],
        elsewhere: Elsewhere,
        origins: frozenset[str],
        names: ServerNames,
    ) -> None:
        """``elsewhere`` is asked for paths that are not among the ``resources``; ``origins`` may call from
        pages of theirs, all of them if there is "*"; requests call the server by one of the ``names``."""
        self._resources = resources
        self._elsewhere = elsewhere
        self._origins = origins
        self._names = names

    async def __call__(self, exchange: Exchange) -> None:
        try:
            if not self._names.takes(exchange.headers.get("host")):
                await refuse_request(exchange, 421, _stranger(exchange.headers["host"]))
                return
            resource = self._resources.get(exchange.path) or self._elsewhere(exchange.path)
            if self._origins:
                exchange.extra = self._cors(exchange.headers.get("origin"))
            if resource is None:
                await refuse_request(exchange, 404, f"no such address: {quoted(exchange.path)}")
                return
            await self._answer(exchange, resource)
        except CallerLeft:
            raise
        except ServingError as exc:  # of no method: those tell of their own
            exchange.refusal = "malformed"
            await refuse(exchange, exc)
        except Exception:
            log.exception("%s %s failed", exchange.method, quoted(exchange.path))
            if exchange.has_answer:
                raise CallerLeft from None
            await refuse_request(exchange, 500, "internal error")

    async def _answer(self, exchange: Exchange, resource: Resource) -> None:
        method = exchange.method
        if method == "POST" and resource.post:
            kind = exchange.headers.get("content-type", "")
            if _is_from_a_shell(exchange, kind):
                kind = JSON
            endpoint = resource.post.get(kind) or resource.post.get(_bare(kind))
            if endpoint:
                await endpoint(exchange)
                return
            wanted = ", ".join(resource.post)
            message = f"content-type: want {wanted}, came {quoted(kind)}"
            await refuse_request(exchange, 415, message, [("accept-post", wanted)])
        elif method in ("GET", "HEAD") and resource.get:
            await resource.get(exchange)
        elif method == "OPTIONS":
            await exchange.respond(204, [("allow", ", ".join([*resource.methods, "OPTIONS"]))])
        else:
            allowed = ", ".join(resource.methods)
            message = f"want {allowed}, came {quoted(method)}"
            await refuse_request(exchange, 405, message, [("allow", allowed)])

    def _cors(self, origin: str | None) -> tuple[tuple[str, str], ...]:
        """Source: the Fetch standard, section 3.3."""
        if origin is None or not self._origins & {origin, "*"}:
            return (("vary", "origin"),)
        return (
            ("vary", "origin"),
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, POST"),
            ("access-control-allow-headers", _CORS_HEADERS),
            ("access-control-expose-headers", _EXPOSED),
            ("access-control-max-age", _REMEMBER_S),
        )


def _stranger(host: str) -> str:
    return f"host: want localhost, an IP address or a name of --http-hosts, came {quoted(host)}"


def _is_from_a_shell(exchange: Exchange, kind: str) -> bool:
    """Whether the type is what ``curl -d`` says of all it sends. Pages may say it unasked: not of theirs."""
    return kind in ("", "application/x-www-form-urlencoded") and "origin" not in exchange.headers


def _bare(media_type: str) -> str:
    """Without parameters; of those only the character set is known, and it is always UTF-8."""
    return media_type.partition(";")[0].strip().lower()
