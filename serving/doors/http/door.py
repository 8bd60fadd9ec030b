"""The HTTP door: its addresses and what is behind them."""

import json
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, message_factory

from serving.api.frame import Frame, Method
from serving.api.methods import SERVICE
from serving.doors.bodies import Bodies
from serving.doors.grpc import streams_for
from serving.doors.http import openapi, rest_openapi
from serving.doors.http.codecs import Codec, JsonCodec, ProtoCodec
from serving.doors.http.connect import ConnectMethod, by_encoding
from serving.doors.http.explorer_addresses import Explorer, wanted_page
from serving.doors.http.grpc_web import GrpcWebMethod
from serving.doors.http.http_status import JSON
from serving.doors.http.rest import Rest
from serving.doors.http.routes import Endpoint, Resource, Routes
from serving.doors.http.transport.exchange import Exchange
from serving.doors.http.transport.listener import Listener
from serving.doors.http.transport.server_names import ServerNames, host_of
from serving.doors.secrets import Secrets
from serving.host import sockets
from serving.host.background import Background
from serving.host.cpus import available_cpus
from serving.metrics.http_refusals import HttpRefusals
from serving.metrics.registry import Metrics
from serving.oip import schema
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.settings import Settings

_TRANSPORT = "http"
_DOCUMENT = "/openapi.json"
_NO_SIDE_EFFECTS = descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
_UNSENT_BYTES, _UNSENT_MESSAGES = 256 << 20, 4
"""Of answers that wait for their readers all may hold so much, or so many of the largest messages."""


def new_listener(
    settings: Settings,
    connections: int,
    frame: Frame,
    methods: Sequence[Method],
    background: Background,
    metrics: Metrics,
) -> Listener:
    """Answers these methods; not yet listening. Raises StartupError."""
    limit = settings.max_message_mib << 20
    bodies = Bodies(settings.request_s, limit)
    frame.when_draining(bodies.give_up)
    resources: dict[str, Resource] = {}
    ours = [method for method in methods if method.service == SERVICE]
    for method in ours:
        resources[method.path] = _resource(method, frame, bodies, limit, settings.max_rows, background)
    resources[_DOCUMENT] = Resource(get=_document(ours, wants_token=settings.auth_token_file is not None))
    if page := wanted_page(settings):
        (walk,) = [method for method in ours if method.name == "Interpolate"]
        codec = _json(frame, walk.request_type, pb.InterpolateResponse, settings.max_rows, background)
        explorer = Explorer(frame, walk, codec, bodies, metrics.text, background, limit=limit)
        resources |= explorer.resources(page)
    rest = Rest(
        [
            (method.name, frame.answer(method, transport=_TRANSPORT))
            for method in methods
            if method.service == schema.SERVICE and not method.writes
        ],
        bodies,
        background,
        limit=limit,
    )
    routes = Routes(resources, rest.resource, frozenset(settings.cors_origins), _names(settings))
    streams = settings.max_streams or streams_for(available_cpus())
    listener = Listener(
        routes,
        HttpRefusals(metrics.registry),
        connections=connections,
        max_streams=streams,
        max_age_s=settings.max_connection_age_s,
        most_unsent=max(_UNSENT_BYTES, _UNSENT_MESSAGES * limit),
    )
    frame.when_draining(lambda _: listener.retire())
    return listener


def _names(settings: Settings) -> ServerNames:
    """Where nobody but this machine gets in, and who gets in may call, strangers' pages must not get in."""
    if settings.http_hosts:
        return ServerNames(settings.http_hosts)
    is_guarded = settings.auth_token_file is not None or settings.tls_certificate is not None
    if is_guarded or not settings.http_address or not sockets.is_loopback(settings.http_address):
        return ServerNames("*")
    return ServerNames(host_of(origin.rpartition("/")[2]) for origin in settings.cors_origins)


def _document(methods: Iterable[Method], *, wants_token: bool) -> Endpoint:
    """What is offered, for people and programs; it needs no token and says nothing about models."""
    unary = [_descriptor(method) for method in methods if not method.writes]
    body = json.dumps(openapi.document(unary, rest_openapi.paths(), wants_token=wants_token)).encode()

    async def get(exchange: Exchange) -> None:
        await exchange.respond(200, [("content-type", JSON)], body)

    return get


async def bind(listener: Listener, settings: Settings, secrets: Secrets) -> str:
    """The address with the port that is really bound, empty if there is to be none. Raises StartupError."""
    if not settings.http_address:
        return ""
    return await listener.start(settings.http_address, _context(secrets), shared=settings.workers > 1)


def use(listener: Listener, secrets: Secrets) -> None:
    """For every connection from here on what is in force now."""
    listener.use(_context(secrets))


def _context(secrets: Secrets) -> ssl.SSLContext | None:
    return secrets.pem.context if secrets.pem else None


def _resource(
    method: Method, frame: Frame, bodies: Bodies, limit: int, max_rows: int, background: Background
) -> Resource:
    """Of one method: Connect's forms of it, and gRPC-Web's."""
    answer = frame.answer(method, transport=_TRANSPORT)
    described = _descriptor(method)
    response_type = message_factory.GetMessageClass(described.output_type)
    codecs: list[Codec] = [
        ProtoCodec(),
        _json(frame, method.request_type, response_type, max_rows, background),
    ]
    web = GrpcWebMethod(answer, bodies, background, limit=limit)
    resource = Resource(
        post={
            "application/grpc-web+proto": web.post,
            "application/grpc-web": web.post,
            "application/grpc-web-text+proto": web.post_text,
            "application/grpc-web-text": web.post_text,
        }
    )
    forms = {codec.name: ConnectMethod(answer, bodies, codec, limit=limit) for codec in codecs}
    for name, form in forms.items():
        if method.writes:
            resource.post[f"application/connect+{name}"] = form.stream
        else:
            resource.post[f"application/{name}"] = form.post
    if described.GetOptions().idempotency_level == _NO_SIDE_EFFECTS:
        resource.get = by_encoding(forms)
    return resource


def _json(
    frame: Frame, request_type: Any, response_type: Any, max_rows: int, background: Background
) -> JsonCodec:
    def cells() -> int:
        return frame.record_bounds().cells

    return JsonCodec(request_type, response_type, max_rows, background, cells)


def _descriptor(method: Method) -> Any:
    service = method.request_type.DESCRIPTOR.file.services_by_name[method.service.rpartition(".")[2]]
    return service.methods_by_name[method.name]
