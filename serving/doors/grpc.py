"""The gRPC door: bytes, deadline and cancellation in; bytes or a status out."""

from collections.abc import Iterable
from typing import Any

import grpc

from serving.api.frame import Frame, Method
from serving.doors.bodies import Bodies
from serving.doors.grpc_call import handler
from serving.doors.secrets import Secrets
from serving.doors.standard_services import Health, StandardServices
from serving.errors import StartupError
from serving.host.cpus import available_cpus
from serving.host.sockets import obstacle
from serving.settings import Settings

_TRANSPORT = "grpc"
_SHORTEST_PING_MS = 5_000
"""Between the pings of a client while nothing is sent to it; one that pings more often is cut off."""
_KEEPALIVE_MS = 60_000
_KEEPALIVE_TIMEOUT_MS = 20_000
"""Without a word for so long the other end is asked whether it is there, and taken for gone if it does not
say so, or does not take what was sent to it."""
_PAUSE_S = 600.0
"""Between two messages of a stream of requests."""
_LEAST_STREAMS, _MOST_STREAMS = 8, 100
_UNCOMPRESSED = 1
"""A set of one: messages as they are. Tensors hardly shrink, and 2 MB of gzip became 2.3 GiB."""


def new_server(
    settings: Settings, connections: int, frame: Frame, methods: Iterable[Method], health: Health
) -> Any:
    """A server that answers these methods, health and reflection; neither bound nor started.

    ``connections`` is how many it may have.
    """
    server = grpc.aio.server(options=_options(settings, connections))
    bodies = Bodies(settings.request_s, settings.max_message_mib << 20)
    talks = Bodies(_PAUSE_S, settings.max_message_mib << 20)
    frame.when_draining(bodies.give_up)
    frame.when_draining(talks.give_up)
    server.add_generic_rpc_handlers(
        (_Handlers(frame, methods, bodies, talks), StandardServices(frame, health, settings.reflection))
    )
    return server


def streams_for(cpus: int) -> int:
    """Calls in progress of one connection, unless it is set: enough for one client to keep the CPUs busy.

    More than that waits first in, first out, and of many clients longer than their deadlines.
    """
    return min(max(4 * cpus, _LEAST_STREAMS), _MOST_STREAMS)


def _options(settings: Settings, connections: int) -> list[tuple[str, int]]:
    options = [
        # Two servers on one port would share it in silence; workers do so on purpose.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.max_receive_message_length", settings.max_message_mib << 20),
        ("grpc.max_send_message_length", -1),
        ("grpc.compression_enabled_algorithms_bitset", _UNCOMPRESSED),
        ("grpc.max_concurrent_streams", settings.max_streams or streams_for(available_cpus())),
        # Or gRPC resets what a client sends before it has heard of the limit, or while it is slow to free.
        ("grpc.http.overload_protection", 0),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        # Clients ask whether the way is still there while nothing is called: see serving.client.transports.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _SHORTEST_PING_MS),
    ]
    if settings.max_connection_age_s:
        options.append(("grpc.max_connection_age_ms", int(settings.max_connection_age_s * 1000)))
        options.append(("grpc.max_connection_age_grace_ms", int(settings.grace_s * 1000)))
    return options


def bind(server: Any, settings: Settings, secrets: Secrets) -> str:
    """The address with the port that is really bound. Raises StartupError."""
    host = settings.address.rpartition(":")[0]
    try:
        if secrets.pem:
            port = server.add_secure_port(settings.address, _credentials(secrets))
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

    def __init__(self, frame: Frame, methods: Iterable[Method], bodies: Bodies, talks: Bodies) -> None:
        """``talks``: the pauses of callers between messages, apart from messages that are on their way."""
        self._handlers = {
            method.path: handler(
                frame.answer(method, transport=_TRANSPORT),
                talks if method.pauses else bodies,
                streamed=method.writes,
            )
            for method in methods
        }

    def service(self, handler_call_details: Any) -> Any:
        """gRPC asks for the handler of each call; None lets other services look."""
        return self._handlers.get(handler_call_details.method)


def _credentials(secrets: Secrets) -> Any:
    """For every connection what is in force when it is made."""

    def configuration() -> Any:
        pem = secrets.pem
        assert pem
        return grpc.ssl_server_certificate_configuration(
            [(pem.key, pem.certificate)], root_certificates=pem.client_ca
        )

    wants_certificates = secrets.pem is not None and secrets.pem.client_ca is not None
    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, wants_certificates)
