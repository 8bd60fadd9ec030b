"""The gRPC door: bytes, deadline and cancellation in; bytes or a status out."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.api.frame import METHODS, SERVICE, STREAMED, Answer, Frame
from serving.api.status import code_of, to_status
from serving.errors import CallerLeft, ServingError, StartupError
from serving.host import tls
from serving.host.sockets import obstacle
from serving.settings import Settings, read_file

_SHORTEST_PING_MS = 5_000
"""Between the pings of a client while nothing is sent to it; one that pings more often is cut off."""
_UNREAD_S = 300.0
"""How long a response may wait for its reader: what stands behind it, a replaced model say, waits as well."""
DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata in which clients of all languages look for a ``google.rpc.Status``."""


def new_server(settings: Settings, frame: Frame, health_servicer: Any) -> Any:
    """A server that answers our API, health and reflection; neither bound nor started."""
    limit = settings.max_message_mib << 20
    options = [
        # Two servers on one port would share it in silence; workers do so on purpose.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", -1),
        # Clients ask whether the way is still there while nothing is called: see serving.client.channel.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _SHORTEST_PING_MS),
    ]
    if settings.max_connection_age_s:
        options.append(("grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)))
        options.append(("grpc.max_connection_age_grace_ms", int(settings.grace_s * 1000)))
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((_Handlers(frame),))
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return server


def bind(server: Any, settings: Settings) -> str:
    """The address with the port that is really bound. Raises StartupError."""
    host = settings.address.rpartition(":")[0]
    try:
        if settings.tls_certificate:
            port = server.add_secure_port(settings.address, _credentials(settings))
        else:
            port = server.add_insecure_port(settings.address)
    except RuntimeError:
        port = 0
    if not port:
        reason = obstacle(settings.address) or "gRPC gives no reason"
        raise StartupError(
            f"--address {settings.address}: cannot listen there; is the port taken? ({reason})"
        )
    return f"{host}:{port}"


class _Handlers(grpc.GenericRpcHandler):
    """A handler a method, and no gRPC interceptor: those cost every call two more coroutines."""

    def __init__(self, frame: Frame) -> None:
        self._handlers = {
            f"/{SERVICE}/{method}": _handler(frame.answers[method], method) for method in METHODS
        }

    def service(self, handler_call_details: Any) -> Any:
        """gRPC asks for the handler of each call; None lets other services look."""
        return self._handlers.get(handler_call_details.method)


class _Streamed:
    """A call whose responses are written one by one."""

    def __init__(self, context: Any) -> None:
        self._write = context.write
        self.time_remaining = context.time_remaining
        self.invocation_metadata = context.invocation_metadata

    async def write(self, response: bytes) -> None:
        """Raises CallerLeft, also of one that is there and does not read."""
        try:
            async with asyncio.timeout(_UNREAD_S):
                await self._write(response)
        except (grpc.aio.BaseError, TimeoutError):  # the former is how gRPC says that the other end is gone
            raise CallerLeft from None


def _handler(answer: Answer, method: str) -> Any:
    async def handle(raw: bytes, context: Any) -> bytes | None:
        try:
            return await answer(raw, _Streamed(context) if method in STREAMED else context)
        except CallerLeft:
            raise asyncio.CancelledError from None  # what gRPC itself does to calls that it knows are over
        except ServingError as exc:
            error = exc
        status = to_status(error)
        trailers = ((DETAILS_KEY, status.SerializeToString()),)
        await context.abort(grpc.StatusCode[code_of(error)], status.message, trailers)
        raise AssertionError("abort raises")

    if method in STREAMED:
        return grpc.unary_stream_rpc_method_handler(handle)
    return grpc.unary_unary_rpc_method_handler(handle)


def _credentials(settings: Settings) -> Any:
    assert settings.tls_certificate
    assert settings.tls_key
    key, certificate, client_ca = (
        read_file(settings, name) for name in ("tls_key", "tls_certificate", "tls_client_ca")
    )
    tls.check(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )
