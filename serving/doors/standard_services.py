"""gRPC's standard services beside ours, within the same limits: health, and reflection.

The packages' own servicers take what anyone sends them: a watcher that does not read holds the lock that a
change of health needs, bytes that are no message end in a traceback, and a question is echoed at any length.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Literal

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.api.frame import Frame, parsed
from serving.api.methods import SERVICE
from serving.doors.bodies import Bodies
from serving.doors.grpc_call import GrpcCall, handler
from serving.errors import InvalidInput, NotFound, TooManyCalls, quoted

HEALTH = "grpc.health.v1.Health"
REFLECTION = reflection.SERVICE_NAME

_LONGEST_QUESTION = 1024
"""Bytes of a question to either service: names, the longest of ours has some 40."""
_QUESTION_S = 5.0
_PAUSE_S = 60.0
"""Between two questions to reflection."""
_MOST_AT_ONCE = 512
"""Checks and watches of health, and talks with reflection, each kind; one takes some 30 kB."""
_RETRY_AFTER_S = 1.0

Status = int
"""A ``HealthCheckResponse.ServingStatus``."""


class Health:
    """The health of the server (empty name), of our service and of every model."""

    def __init__(self) -> None:
        self._statuses: dict[str, Status] = {"": health_pb2.HealthCheckResponse.NOT_SERVING}
        self._changed = asyncio.Event()
        """Set, and replaced, with each change: a watcher waits for the one that it saw last."""
        self._is_final = False

    def set(self, service: str, status: Status) -> None:
        """Nothing changes any more once ``enter_shutdown`` was called."""
        if not self._is_final:
            self._statuses[service] = status
            self._tell()

    def enter_shutdown(self) -> None:
        """NOT_SERVING from here on, all of it."""
        self._is_final = True
        self._statuses = dict.fromkeys(self._statuses, health_pb2.HealthCheckResponse.NOT_SERVING)
        self._tell()

    async def check(self, call: GrpcCall) -> bytes:
        """Raises NotFound."""
        service = (await _question(call, health_pb2.HealthCheckRequest)).service
        if service not in self._statuses:
            raise NotFound("service", service, f"service: none is called {quoted(service)}")
        return self._response(service)

    async def watch(self, call: GrpcCall) -> None:
        """The status, and again whenever it changes; of a service that is not known it is SERVICE_UNKNOWN."""
        service = (await _question(call, health_pb2.HealthCheckRequest)).service
        last = b""
        while True:
            changed, now = self._changed, self._response(service)
            if now != last:
                await call.write(now)
                last = now
            await changed.wait()

    @property
    def is_serving(self) -> bool:
        """Whether the server as a whole is."""
        return bool(self._statuses[""] == health_pb2.HealthCheckResponse.SERVING)

    def _response(self, service: str) -> bytes:
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        status: Any = self._statuses.get(service, unknown)
        return bytes(health_pb2.HealthCheckResponse(status=status).SerializeToString())

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class StandardServices(grpc.GenericRpcHandler):
    """Their handlers. ``reflects``: whether reflection is there, and whether it wants the token."""

    def __init__(self, frame: Frame, health: Health, reflects: Literal["on", "off", "token"]) -> None:
        self._frame = frame
        # Apart from our service's messages: strangers may ask here, and who talks with reflection may pause.
        bodies = Bodies(_QUESTION_S, _LONGEST_QUESTION)
        talks = Bodies(_PAUSE_S, _LONGEST_QUESTION)
        self._wants_token = reflects == "token"
        self._at_once: Counter[str] = Counter()
        self._reflection = reflection.aio.ReflectionServicer((SERVICE, HEALTH, REFLECTION))
        self._handlers = {
            f"/{HEALTH}/Check": handler(self._limited("checks", health.check), bodies, streamed=False),
            f"/{HEALTH}/Watch": handler(self._limited("watches", health.watch), bodies, streamed=True),
        }
        if reflects != "off":
            talk = self._limited("reflections", self._reflect)
            self._handlers[f"/{REFLECTION}/ServerReflectionInfo"] = handler(talk, talks, streamed=True)

    def service(self, handler_call_details: Any) -> Any:
        """gRPC asks for the handler of each call; None lets other services look."""
        return self._handlers.get(handler_call_details.method)

    def _limited(self, kind: str, answer: Any) -> Any:
        async def limited(call: GrpcCall) -> bytes | None:
            if self._at_once[kind] >= _MOST_AT_ONCE:
                raise TooManyCalls(
                    f"{_MOST_AT_ONCE} {kind} are in progress, as many as may be", _RETRY_AFTER_S
                )
            self._at_once[kind] += 1
            try:
                answered: bytes | None = await answer(call)
                return answered
            finally:
                self._at_once[kind] -= 1

        return limited

    async def _reflect(self, call: GrpcCall) -> None:
        if self._wants_token:
            self._frame.admit(call)
        async for response in self._reflection.ServerReflectionInfo(_questions(call), None):
            await call.write(response.SerializeToString())


async def _questions(call: GrpcCall) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
    while (raw := await call.next()) is not None:
        yield _short_question(raw, reflection_pb2.ServerReflectionRequest)


async def _question(call: GrpcCall, kind: Any) -> Any:
    return _short_question(await call.read(), kind)


def _short_question(raw: bytes, kind: Any) -> Any:
    if len(raw) > _LONGEST_QUESTION:
        raise InvalidInput("request", f"want at most {_LONGEST_QUESTION} bytes, came {len(raw)}")
    return parsed(kind, raw)
