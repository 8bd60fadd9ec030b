"""One gRPC call: what the frame asks of it, and how it is told of an error."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc

from serving.api.status import code_of, to_status
from serving.doors.bodies import Bodies
from serving.errors import CallerLeft, InvalidInput, ServingError

_UNREAD_S = 300.0
"""How long a response may wait for its reader: what stands behind it, a replaced model say, waits as well."""
_LEAVING_S = 0.05
DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata in which clients of all languages look for a ``google.rpc.Status``."""


class GrpcCall:
    """See ``serving.api.frame.Call``."""

    __slots__ = ("_bodies", "_context", "invocation_metadata", "time_remaining")

    def __init__(self, context: Any, bodies: Bodies) -> None:
        self._context = context
        self._bodies = bodies
        self.time_remaining = context.time_remaining
        self.invocation_metadata = context.invocation_metadata

    async def read(self) -> bytes:
        """The request's message; see ``Call``."""
        message: bytes = await self._bodies.read(self._context.read)  # a coroutine more costs every call
        if message is grpc.aio.EOF:
            await asyncio.sleep(_LEAVING_S)  # who left is cancelled meanwhile: gRPC tells that a moment later
            raise InvalidInput("request", "want one message, came none")
        return message

    async def next(self) -> bytes | None:
        """The next of several; None after the last."""
        message = await self._bodies.read(self._context.read)
        return None if message is grpc.aio.EOF else message

    async def write(self, response: bytes) -> None:
        """Raises CallerLeft, also of one that is there and does not read."""
        try:
            async with asyncio.timeout(_UNREAD_S):
                await self._context.write(response)
        except (grpc.aio.BaseError, TimeoutError):  # the former is how gRPC says that the other end is gone
            raise CallerLeft from None


Answer = Callable[[GrpcCall], Awaitable[bytes | None]]


def handler(answer: Answer, bodies: Bodies, *, streamed: bool) -> Any:
    """A method that takes one message; of gRPC's kinds of handlers the one that reads it itself.

    The others have gRPC read the message first, whoever sends it and however long it takes.
    """

    async def handle(_: Any, context: Any) -> bytes | None:
        try:
            return await answer(GrpcCall(context, bodies))
        except CallerLeft:
            raise asyncio.CancelledError from None  # what gRPC itself does to calls that it knows are over
        except ServingError as exc:
            error = exc
        try:
            await refuse(context, error)
        finally:
            del error  # its traceback holds the request, and this frame

    if streamed:
        return grpc.stream_stream_rpc_method_handler(handle)
    return grpc.stream_unary_rpc_method_handler(handle)


async def refuse(context: Any, error: ServingError) -> NoReturn:
    """End the call with the error's status."""
    status = to_status(error)
    trailers = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(grpc.StatusCode[code_of(error)], status.message, trailers)
    raise AssertionError("abort raises")
