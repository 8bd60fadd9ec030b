"""Which transport an address asks for, and what any of them can do."""

from collections.abc import AsyncGenerator, Generator
from typing import Any, Protocol

from google.protobuf.message import Message

from serving.client.transports.access import Access
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
    """Raises ValueError for what cannot be used, OSError if the certificate cannot be read."""
    return BlockingGrpc(address, access)


def asynchronous(address: str, access: Access) -> AsyncTransport:
    """The same for asyncio."""
    return AsyncGrpc(address, access)
