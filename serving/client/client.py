"""The two clients: ``Operations`` run over a blocking transport, or over an asyncio one."""

import copy
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args

from serving.client.listing import Operation
from serving.client.operations import Operations
from serving.client.streams import Stream
from serving.client.transports import transport_choice
from serving.client.transports.access import Access

P = ParamSpec("P")
T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])

DEFAULT_ADDRESS = "localhost:50051"
DEFAULT_TIMEOUT_S = 30.0
LONGEST_TIMEOUT_S = 1e8
"""Three years."""


class _Connection:
    """A transport and what goes with every call on it."""

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
            address: "host:port", or any gRPC target, for gRPC; "http://host:port" or "https://host:port",
                with a path if the server has one, for HTTP. All addresses of the host take turns.
            tls: encrypt, and verify the server with the system's authorities; implied by "https://".
            root_certificate: PEM file of the authority to verify the server with instead; implies ``tls``.
            token: bearer token sent with every call; without TLS it travels in the clear.
            timeout_s: deadline of a call, retries included; of a stream, of each of its responses.
        """
        self._timeout_s = _checked_timeout(timeout_s)
        self._transport = self._open(address, Access(tls, root_certificate, token))
        self._operations = Operations()

    def _open(self, address: str, access: Access) -> Any:
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
    """Blocking client; may be shared by threads. Over gRPC and over HTTP it does the same.

    >>> with Client("localhost:50051") as client:
    ...     images = client.sample("digits", 64, seed=7).images
    """

    models = _blocking(Operations.models)
    versions = _blocking(Operations.versions)
    model = _blocking(Operations.model)
    latent_map = _blocking(Operations.latent_map)
    sample = _blocking(Operations.sample)
    sample_stream = _iterable(Operations.sample_stream)
    encode = _blocking(Operations.encode)
    decode = _blocking(Operations.decode)
    reconstruct = _blocking(Operations.reconstruct)
    score = _blocking(Operations.score)
    interpolate = _blocking(Operations.interpolate)
    sample_records = _blocking(Operations.sample_records)
    sample_records_stream = _iterable(Operations.sample_records_stream)
    impute = _blocking(Operations.impute)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls that are running fail."""
        self._transport.close()

    def _open(self, address: str, access: Access) -> transport_choice.BlockingTransport:
        return transport_choice.blocking(address, access)

    def _run(self, operation: Operation[T]) -> T:
        response = None
        while True:
            try:
                call = operation.send(response)
            except StopIteration as stop:
                result: T = stop.value
                return result
            with call.failing():
                response = self._transport.call(call.method, call.request, self._timeout_s)

    def _iterate(self, stream: Stream[T]) -> Iterator[T]:
        with closing(self._transport.stream(stream.method, stream.request, self._timeout_s)) as responses:
            for response in responses:
                yield self._run(stream.read(response))


class AsyncClient(_Connection):
    """The same for asyncio; make it inside the event loop that uses it.

    >>> async with AsyncClient("localhost:50051") as client:
    ...     images = (await client.sample("digits", 64, seed=7)).images
    """

    models = _awaitable(Operations.models)
    versions = _awaitable(Operations.versions)
    model = _awaitable(Operations.model)
    latent_map = _awaitable(Operations.latent_map)
    sample = _awaitable(Operations.sample)
    sample_stream = _async_iterable(Operations.sample_stream)
    encode = _awaitable(Operations.encode)
    decode = _awaitable(Operations.decode)
    reconstruct = _awaitable(Operations.reconstruct)
    score = _awaitable(Operations.score)
    interpolate = _awaitable(Operations.interpolate)
    sample_records = _awaitable(Operations.sample_records)
    sample_records_stream = _async_iterable(Operations.sample_records_stream)
    impute = _awaitable(Operations.impute)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that are running fail."""
        await self._transport.close()

    def _open(self, address: str, access: Access) -> transport_choice.AsyncTransport:
        return transport_choice.asynchronous(address, access)

    async def _run(self, operation: Operation[T]) -> T:
        response = None
        while True:
            try:
                call = operation.send(response)
            except StopIteration as stop:
                result: T = stop.value
                return result
            with call.failing():
                response = await self._transport.call(call.method, call.request, self._timeout_s)

    async def _iterate(self, stream: Stream[T]) -> AsyncGenerator[T, None]:
        calling = self._transport.stream(stream.method, stream.request, self._timeout_s)
        async with aclosing(calling) as responses:
            async for response in responses:
                yield await self._run(stream.read(response))
