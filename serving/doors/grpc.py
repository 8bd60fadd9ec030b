"""The gRPC door: bytes, deadline and cancellation in; bytes or a status out."""

from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.api.frame import METHODS, SERVICE, STREAMED, Answer, Frame
from serving.api.status import code_of, to_status
from serving.errors import ServingError, StartupError
from serving.settings import Settings, read_file

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
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
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
        raise StartupError(f"--address {settings.address}: cannot listen there; is the port taken?")
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


def _handler(answer: Answer, method: str) -> Any:
    async def handle(raw: bytes, context: Any) -> bytes | None:
        try:
            return await answer(raw, context)
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
    key, certificate, client_ca = (
        read_file(settings, name) for name in ("tls_key", "tls_certificate", "tls_client_ca")
    )
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=client_ca, require_client_auth=client_ca is not None
    )
