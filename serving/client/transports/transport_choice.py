"""Which transport an address asks for, and what any of them can do."""

from collections.abc import AsyncGenerator, Generator
from typing import Any, Protocol

from google.protobuf.message import Message

from serving.client.transports.access import Access
from serving.client.transports.channel import SCHEMES
from serving.client.transports.grpc_transport import AsyncGrpc, BlockingGrpc


class BlockingTransport(Protocol):
    """Makes the calls of one server's clients; may be shared by threads."""

    def call(self, method: str, request: Message, timeout_s: float) -> Any:
        """The response, within so many seconds, retries included. Raises VaeError."""

    def stream(self, method: str, request: Message, timeout_s: float) -> Generator[Any, None, None]:
        """The responses, each within so many seconds; closing it ends the call. Raises VaeError."""

    def close(self) -> None:
        """Calls that are running fail."""


class AsyncTransport(Protocol):
    """The same for asyncio."""

    async def call(self, method: str, request: Message, timeout_s: float) -> Any:
        """See ``BlockingTransport``."""

    def stream(self, method: str, request: Message, timeout_s: float) -> AsyncGenerator[Any, None]:
        """See ``BlockingTransport``."""

    async def close(self) -> None:
        """See ``BlockingTransport``."""


def blocking(address: str, access: Access) -> BlockingTransport:
    """HTTP for what begins with http:// or https://, else gRPC.

    Raises ValueError for what cannot be used, OSError if the certificate cannot be read.
    """
    if not _is_http(address):
        return BlockingGrpc(address, access)
    from serving.client.http.http_blocking import BlockingHttp

    return BlockingHttp(address, access)


def asynchronous(address: str, access: Access) -> AsyncTransport:
    """The same for asyncio."""
    if not _is_http(address):
        return AsyncGrpc(address, access)
    from serving.client.http.http_asyncio import AsyncHttp

    return AsyncHttp(address, access)


def _is_http(address: str) -> bool:
    """Raises ValueError for a scheme that no transport has."""
    scheme, separator, _ = address.partition("://")
    if not separator or scheme in SCHEMES:
        return False
    if scheme.lower() in ("http", "https"):
        return True
    raise ValueError(
        f"address: want host:port or a gRPC target for gRPC, http:// or https:// for HTTP, came {scheme!r}://"
    )
