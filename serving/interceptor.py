"""Around every call of our API: parse, authenticate, count, time, and turn errors into statuses.

Only this interceptor aborts a call. It takes the raw bytes itself, so that a request that is not a
protobuf message is the caller's error like any other.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from serving.errors import InvalidInput, ServingError, ShuttingDown, Unauthenticated
from serving.metrics import UNKNOWN, Metrics
from serving.repository import Repository
from serving.status import InternalError, to_status

log = logging.getLogger(__name__)

SERVICE = "vae.v1.VaeService"
_WITHOUT_MODEL = ""
"""Label of a call that is about no model, such as ListModels."""

_DRAIN_POLL_S = 0.02
_SETTLE_S = 0.1
"""Time for calls on the wire to arrive and be refused before the sockets close."""

Behaviour = Callable[[Any, Any], Awaitable[Message]]


class CallInterceptor(grpc.aio.ServerInterceptor):
    """See the module. Calls to other services (health, reflection) pass untouched."""

    def __init__(self, repository: Repository, metrics: Metrics, token: str | None) -> None:
        self._repository = repository
        self._metrics = metrics
        self._credentials = f"Bearer {token}" if token else None
        self._handlers: dict[str, Any] = {}
        self._active = 0
        self._draining = False

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls and wait for those in progress, at most ``grace_s`` seconds.

        A call that gRPC holds but has not handed over when the server stops is cancelled by gRPC, and
        its client cannot know whether it was begun. Refused here it is told UNAVAILABLE, and retries.
        """
        self._draining = True
        end = time.monotonic() + grace_s
        while self._active and time.monotonic() < end:  # noqa: ASYNC110  # an event would cost every call
            await asyncio.sleep(_DRAIN_POLL_S)
        await asyncio.sleep(_SETTLE_S)

    async def intercept_service(self, continuation: Any, call: Any) -> Any:
        wrapped = self._handlers.get(call.method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(call)
        service, _, method = call.method.lstrip("/").partition("/")
        if handler is None or service != SERVICE:
            return handler
        wrapped = grpc.unary_unary_rpc_method_handler(self._wrap(handler, method))
        self._handlers[call.method] = wrapped
        return wrapped

    def _wrap(self, handler: Any, method: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        behave: Behaviour = handler.unary_unary
        parse, serialise = handler.request_deserializer, handler.response_serializer

        async def answer(raw: bytes, context: Any) -> bytes:
            started = time.perf_counter()
            model, code, error = UNKNOWN, "CANCELLED", None
            inflight = None
            self._active += 1
            try:
                if self._draining:
                    raise ShuttingDown("this server is shutting down")
                self._authenticate(context)
                request = _parse(parse, raw)
                model = self._label(request)
                inflight = self._metrics.inflight.labels(model, method)
                inflight.inc()
                response = serialise(await behave(request, context))
                code = "OK"
                return bytes(response)
            except ServingError as exc:
                error = exc
            except Exception:
                log.exception("%s failed", method)
                error = InternalError()
            finally:
                self._active -= 1
                if inflight is not None:
                    inflight.dec()
                if error is not None:
                    code = to_status(error)[0].name
                self._metrics.requests.labels(model, method, code).inc()
                self._metrics.request_duration.labels(model, method).observe(time.perf_counter() - started)
            await context.abort(*to_status(error))
            raise AssertionError("abort raises")

        return answer

    def _authenticate(self, context: Any) -> None:
        if self._credentials is None:
            return
        came = dict(context.invocation_metadata()).get("authorization", "")
        if not isinstance(came, str) or not hmac.compare_digest(came.encode(), self._credentials.encode()):
            raise Unauthenticated("authorization: want 'Bearer <token>' with the server's token")

    def _label(self, request: Any) -> str:
        """The model for metrics; what a client made up never becomes a label."""
        if "model" not in request.DESCRIPTOR.fields_by_name:
            return _WITHOUT_MODEL
        return self._repository.label(request.model.name) or UNKNOWN


def _parse(parse: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return parse(raw)
    except DecodeError:
        raise InvalidInput("request", "want a protobuf message of this method, came other bytes") from None
