"""The two clients: ``Operations`` run over a blocking channel, or over an asyncio one."""

import asyncio
import copy
import functools
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args

import grpc

from serving.client import channel, failures
from serving.client.listing import Operation
from serving.client.operations import Operations
from serving.client.streams import Stream
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub

P = ParamSpec("P")
T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT_S = 30.0
LONGEST_TIMEOUT_S = 1e8
"""Three years."""


class _Connection:
    """A channel and what goes with every call on it."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        tls: bool = False,
        root_certificate: str | Path | None = None,
        token: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """Connect when the first call is made.

        Args:
            address: "host:port", or any gRPC target. All addresses of the host take turns.
            tls: encrypt, and verify the server with the system's authorities.
            root_certificate: PEM file of the authority to verify the server with instead; implies ``tls``.
            token: bearer token sent with every call; without TLS it travels in the clear.
            timeout_s: deadline of a call, retries included; of a stream, of each of its responses.
        """
        credentials = channel.credentials(tls=tls, root_certificate=root_certificate)
        self._channel = self._open(channel.target(address), credentials)
        self._stub = VaeServiceStub(self._channel)
        self._metadata = channel.metadata(token)
        self._timeout_s = _checked_timeout(timeout_s)
        self._operations = Operations()

    def _open(self, target: str, credentials: grpc.ChannelCredentials | None) -> Any:
        raise NotImplementedError

    def with_timeout(self, timeout_s: float) -> Self:
        """The same connection with another deadline; closing either closes both."""
        other = copy.copy(self)
        other._timeout_s = _checked_timeout(timeout_s)
        return other


def _checked_timeout(timeout_s: float) -> float:
    """gRPC takes what is not a number, or beyond its clock, for a deadline that is over."""
    if not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        raise ValueError(f"timeout_s: want seconds above 0, to {LONGEST_TIMEOUT_S:g}, came {timeout_s:g}")
    return timeout_s


def _blocking(
    operation: Callable[Concatenate[Operations, P], Operation[T]],
) -> Callable[Concatenate["Client", P], T]:
    """The method of ``Client`` for an operation."""

    def method(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return client._run(operation(client._operations, *args, **kwargs))

    return _documented(method, operation)


def _awaitable(
    operation: Callable[Concatenate[Operations, P], Operation[T]],
) -> Callable[Concatenate["AsyncClient", P], Coroutine[Any, Any, T]]:
    """The method of ``AsyncClient`` for an operation."""

    async def method(client: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client._run(operation(client._operations, *args, **kwargs))

    return _documented(method, operation)


def _iterable(
    operation: Callable[Concatenate[Operations, P], Stream[T]],
) -> Callable[Concatenate["Client", P], Iterator[T]]:
    """The method of ``Client`` for a stream."""

    def method(client: "Client", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return client._iterate(operation(client._operations, *args, **kwargs))

    return _documented(method, operation, Iterator)


def _async_iterable(
    operation: Callable[Concatenate[Operations, P], Stream[T]],
) -> Callable[Concatenate["AsyncClient", P], AsyncGenerator[T, None]]:
    """The method of ``AsyncClient`` for a stream."""

    def method(client: "AsyncClient", /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        return client._iterate(operation(client._operations, *args, **kwargs))

    return _documented(method, operation, AsyncIterator)


def _documented(method: Method, operation: Callable[..., Any], container: Any = None) -> Method:
    """The method with the name, docstring and signature of the operation, but for what it returns."""
    functools.update_wrapper(method, operation)
    signature = inspect.signature(operation)
    result = get_args(signature.return_annotation)[-1]
    result = result if container is None else container[result]
    vars(method)["__signature__"] = signature.replace(return_annotation=result)
    return method


class Client(_Connection):
    """Blocking client; may be shared by threads.

    >>> with Client("localhost:50051") as client:
    ...     images = client.sample("digits", 64, seed=7).images
    """

    models = _blocking(Operations.models)
    versions = _blocking(Operations.versions)
    model = _blocking(Operations.model)
    sample = _blocking(Operations.sample)
    sample_stream = _iterable(Operations.sample_stream)
    encode = _blocking(Operations.encode)
    decode = _blocking(Operations.decode)
    reconstruct = _blocking(Operations.reconstruct)
    score = _blocking(Operations.score)
    interpolate = _blocking(Operations.interpolate)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls that are running fail."""
        self._channel.close()

    def _open(self, target: str, credentials: grpc.ChannelCredentials | None) -> Any:
        if credentials is None:
            return grpc.insecure_channel(target, channel.OPTIONS)
        return grpc.secure_channel(target, credentials, channel.OPTIONS)

    def _run(self, operation: Operation[T]) -> T:
        response = None
        while True:
            try:
                call = operation.send(response)
            except StopIteration as stop:
                result: T = stop.value
                return result
            rpc = getattr(self._stub, call.method)
            try:
                response = rpc(call.request, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as exc:
                raise failures.from_rpc(exc) from None

    def _iterate(self, stream: Stream[T]) -> Iterator[T]:
        call = getattr(self._stub, stream.method)(stream.request, metadata=self._metadata)
        late = threading.Event()
        try:
            while (response := self._next(call, late)) is not None:
                yield stream.read(response)
        finally:
            call.cancel()

    def _next(self, call: Any, late: threading.Event) -> Any:
        """The next response of a stream; None after the last. ``late`` is set if one has not come in time."""

        def give_up() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(self._timeout_s, give_up)
        timer.start()
        try:
            return next(call, None)
        except grpc.RpcError as exc:
            raise (
                failures.no_response(self._timeout_s) if late.is_set() else failures.from_rpc(exc)
            ) from None
        finally:
            timer.cancel()


class AsyncClient(_Connection):
    """The same for asyncio; make it inside the event loop that uses it.

    >>> async with AsyncClient("localhost:50051") as client:
    ...     images = (await client.sample("digits", 64, seed=7)).images
    """

    models = _awaitable(Operations.models)
    versions = _awaitable(Operations.versions)
    model = _awaitable(Operations.model)
    sample = _awaitable(Operations.sample)
    sample_stream = _async_iterable(Operations.sample_stream)
    encode = _awaitable(Operations.encode)
    decode = _awaitable(Operations.decode)
    reconstruct = _awaitable(Operations.reconstruct)
    score = _awaitable(Operations.score)
    interpolate = _awaitable(Operations.interpolate)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that are running fail."""
        await self._channel.close()

    def _open(self, target: str, credentials: grpc.ChannelCredentials | None) -> Any:
        if credentials is None:
            return grpc.aio.insecure_channel(target, channel.OPTIONS)
        return grpc.aio.secure_channel(target, credentials, channel.OPTIONS)

    async def _run(self, operation: Operation[T]) -> T:
        response = None
        while True:
            try:
                call = operation.send(response)
            except StopIteration as stop:
                result: T = stop.value
                return result
            rpc = getattr(self._stub, call.method)
            try:
                response = await rpc(call.request, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as exc:
                raise failures.from_rpc(exc) from None

    async def _iterate(self, stream: Stream[T]) -> AsyncGenerator[T, None]:
        call = getattr(self._stub, stream.method)(stream.request, metadata=self._metadata)
        responses = aiter(call)
        try:
            while True:
                async with asyncio.timeout(self._timeout_s):
                    response = await anext(responses, None)
                if response is None:
                    return
                yield stream.read(response)
        except TimeoutError:
            raise failures.no_response(self._timeout_s) from None
        except grpc.aio.AioRpcError as exc:
            raise failures.from_rpc(exc) from None
        finally:
            call.cancel()
