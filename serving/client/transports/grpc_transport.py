"""Calls over gRPC."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from typing import Any

import grpc
from google.protobuf.message import Message

from serving.client import failures
from serving.client.transports import channel
from serving.client.transports.access import Access
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub


class BlockingGrpc:
    """See ``BlockingTransport``."""

    def __init__(self, address: str, access: Access) -> None:
        """Raises OSError if the certificate cannot be read, ValueError for a token that cannot be sent."""
        target, credentials = channel.target(address), channel.credentials(access)
        self._metadata = access.metadata()
        self._channel = (
            grpc.insecure_channel(target, channel.OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, channel.OPTIONS)
        )
        self._stub = VaeServiceStub(self._channel)

    def call(self, method: str, request: Message, timeout_s: float) -> Any:
        try:
            return getattr(self._stub, method)(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise failures.from_rpc(exc) from None

    def stream(self, method: str, request: Message, timeout_s: float) -> Generator[Any, None, None]:
        call = getattr(self._stub, method)(request, metadata=self._metadata)
        try:
            while (response := _next(call, timeout_s)) is not None:
                yield response
        finally:
            call.cancel()

    def close(self) -> None:
        self._channel.close()


def _next(call: Any, timeout_s: float) -> Any:
    """The next response of a stream; None after the last."""
    late = threading.Event()

    def give_up() -> None:
        late.set()
        call.cancel()

    timer = threading.Timer(timeout_s, give_up)
    timer.start()
    try:
        return next(call, None)
    except grpc.RpcError as exc:
        raise (failures.no_response(timeout_s) if late.is_set() else failures.from_rpc(exc)) from None
    finally:
        timer.cancel()


class AsyncGrpc:
    """See ``AsyncTransport``."""

    def __init__(self, address: str, access: Access) -> None:
        """Raises OSError if the certificate cannot be read, ValueError for a token that cannot be sent."""
        target, credentials = channel.target(address), channel.credentials(access)
        self._metadata = access.metadata()
        self._channel = (
            grpc.aio.insecure_channel(target, channel.OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, channel.OPTIONS)
        )
        self._stub = VaeServiceStub(self._channel)

    async def call(self, method: str, request: Message, timeout_s: float) -> Any:
        try:
            return await getattr(self._stub, method)(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as exc:
            raise failures.from_rpc(exc) from None

    async def stream(self, method: str, request: Message, timeout_s: float) -> AsyncGenerator[Any, None]:
        call = getattr(self._stub, method)(request, metadata=self._metadata)
        responses = aiter(call)
        try:
            while True:
                async with asyncio.timeout(timeout_s):
                    response = await anext(responses, None)
                if response is None:
                    return
                yield response
        except TimeoutError:
            raise failures.no_response(timeout_s) from None
        except grpc.aio.AioRpcError as exc:
            raise failures.from_rpc(exc) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()
