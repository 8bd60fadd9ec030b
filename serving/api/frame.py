"""Around every call of our API: parse, authenticate, count, time, and turn errors into statuses.

Only this module aborts a call. It takes the raw bytes itself, so that a request that is not a protobuf
message is the caller's error like any other. It is a handler and no gRPC interceptor: those cost every
call two more coroutines.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import cache
from operator import attrgetter
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from serving.api.status import InternalError, to_status
from serving.errors import InvalidInput, ServingError, ShuttingDown, Unauthenticated
from serving.metrics.registry import UNKNOWN, CallMetrics, Metrics
from serving.models.repository import Repository
from serving.pb.vae.v1 import vae_service_pb2 as pb

log = logging.getLogger(__name__)

SERVICE = "vae.v1.VaeService"
_DESCRIPTORS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["VaeService"].methods}
METHODS = tuple(_DESCRIPTORS)

_MODEL_NAME = {
    "SampleStream": attrgetter("sample.model.name"),
    "ListModels": None,
}
"""Where a request names its model, if not in ``model.name``."""
_WITHOUT_MODEL = ""
"""Label of a call that is about no model."""
_DRAIN_POLL_S = 0.02
_SETTLE_S = 0.1
"""Time for calls on the wire to arrive and be refused before the sockets close."""

Behaviour = Callable[[Any, Any], Awaitable[bytes | None]]
"""A method of the servicer: request and context to the serialised response; None if it was streamed."""


class Calls(grpc.GenericRpcHandler):
    """See the module."""

    def __init__(self, servicer: Any, repository: Repository, metrics: Metrics, token: str | None) -> None:
        self._repository = repository
        self._metrics = metrics
        self._credentials = f"Bearer {token}".encode() if token else None
        self._handlers = {
            f"/{SERVICE}/{method}": self._handler(getattr(servicer, method), method) for method in METHODS
        }
        self._active = 0
        self._draining = False
        self._guarded = token is not None
        """Whether calls have anything to be refused for."""

    def service(self, handler_call_details: Any) -> Any:
        """gRPC asks for the handler of each call; None lets other services look."""
        return self._handlers.get(handler_call_details.method)

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls and wait for those in progress, at most ``grace_s`` seconds.

        A call that gRPC holds but has not handed over when the server stops is cancelled by gRPC, and
        its client cannot know whether it was begun. Refused here it is told UNAVAILABLE, and retries.
        """
        self._draining = self._guarded = True
        end = time.monotonic() + grace_s
        while self._active and time.monotonic() < end:  # noqa: ASYNC110  # an event would cost every call
            await asyncio.sleep(_DRAIN_POLL_S)
        await asyncio.sleep(_SETTLE_S)

    def _handler(self, behave: Any, method: str) -> Any:
        if _DESCRIPTORS[method].server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._wrap(_writing(behave), method))
        return grpc.unary_unary_rpc_method_handler(self._wrap(behave, method))

    def _wrap(self, behave: Behaviour, method: str) -> Behaviour:
        request_type: Any = getattr(pb, f"{method}Request")
        model_name = _MODEL_NAME.get(method, attrgetter("model.name"))
        label = self._repository.label
        series_of = cache(lambda model: CallMetrics(self._metrics, model, method))

        async def answer(raw: bytes, context: Any) -> bytes | None:
            started = time.perf_counter()
            series: CallMetrics | None = None
            error: ServingError
            code = "CANCELLED"
            self._active += 1
            try:
                if self._guarded:
                    self._admit(context)
                request = _parse(request_type, raw)
                name = (label(model_name(request)) or UNKNOWN) if model_name else _WITHOUT_MODEL
                series = series_of(name)
                series.inflight += 1
                response = await behave(request, context)
                code = "OK"
                return response
            except ServingError as exc:
                error = exc
                code = to_status(exc)[0].name
            except Exception:
                log.exception("%s failed", method)
                error = InternalError()
                code = to_status(error)[0].name
            finally:
                self._active -= 1
                if series is None:
                    series = series_of(UNKNOWN)
                else:
                    series.inflight -= 1
                series.done(code, time.perf_counter() - started)
            await context.abort(*to_status(error))
            raise AssertionError("abort raises")

        return answer

    def _admit(self, context: Any) -> None:
        if self._draining:
            raise ShuttingDown("this server is shutting down")
        if self._credentials is None:
            return
        came = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(str(came).encode(), self._credentials):
            raise Unauthenticated("authorization: want 'Bearer <token>' with the server's token")


def _writing(stream: Callable[[Any, Any], AsyncGenerator[bytes, None]]) -> Behaviour:
    """Send what a streaming method yields, each when gRPC's flow control lets it."""

    async def write(request: Any, context: Any) -> None:
        async with aclosing(stream(request, context)) as responses:
            async for response in responses:
                await context.write(response)

    return write


def _parse(request_type: Any, raw: bytes) -> Any:
    try:
        return request_type.FromString(raw)
    except DecodeError:
        raise InvalidInput("request", "want a protobuf message of this method, came other bytes") from None
