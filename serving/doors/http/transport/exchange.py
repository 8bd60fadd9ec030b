"""One HTTP request and the answer to it, whatever version of HTTP carries them."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from serving.errors import RequestTooLarge

Headers = Sequence[tuple[str, str]]
"""Names in small letters."""
Refused = Callable[[str], None]
"""Hears why something got no answer of a method: one of ``HTTP_REFUSALS`` of the metrics."""

_LONGEST_LENGTH = 20
"""Digits."""


class Exchange(ABC):
    """Filled by its connection; the handler reads the request's body and gives one answer.

    The handler runs in a task of its own, which is cancelled when the caller leaves.
    """

    __slots__ = (
        "_buffer", "_drops", "_is_whole", "_limit", "_wakes",
        "extra", "has_answer", "headers", "method", "path", "query", "refusal",
    )  # fmt: skip

    def __init__(self, method: str, target: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        """Names in small letters; of a name that came more than once, the values with commas between."""
        self.extra: tuple[tuple[str, str], ...] = ()
        """Headers that the answer has, whatever it is."""
        self.has_answer = False
        """Whether one was begun."""
        self.refusal = ""
        """Why no method was asked; see ``Refused``."""
        self._buffer: bytes | bytearray = b""
        self._is_whole = self._drops = False
        self._limit: int | None = None
        """Bytes that the body may have; nobody reads it as long as it is None."""
        self._wakes: asyncio.Future[None] | None = None

    def whole(self, limit: int) -> bytes | None:
        """The body if all of it is here. Raises RequestTooLarge."""
        if not self._is_whole:
            return None
        self._check_size(limit)
        body, self._buffer = self._buffer, b""  # so that it is there once, and no longer than it is wanted
        return bytes(body)

    async def body(self, limit: int) -> bytes:
        """All of it. Raises RequestTooLarge, as soon as it is known, and CallerLeft."""
        length = self.headers.get("content-length", "")
        if length.isdecimal() and len(length) <= _LONGEST_LENGTH and int(length) > limit:
            raise too_large(limit)
        self._limit = limit
        self._wanted()
        while not self._is_whole:
            self._check_size(limit)
            self._wakes = asyncio.get_running_loop().create_future()
            await self._wakes
        body = self.whole(limit)
        assert body is not None
        return body

    def ignore_body(self) -> None:
        """Nobody will ask for it."""
        self._drops, self._buffer = True, b""

    def _check_size(self, limit: int) -> None:
        if len(self._buffer) > limit:
            self.ignore_body()
            raise too_large(limit)

    def feed(self, data: bytes) -> None:
        """A piece of the body came."""
        if self._drops or self.has_answer:
            return
        if not self._buffer:
            self._buffer = data
        else:
            if not isinstance(self._buffer, bytearray):
                self._buffer = bytearray(self._buffer)
            self._buffer += data  # and not a list: pieces of one byte would take forty
        if self._limit is not None and len(self._buffer) > self._limit:
            self._drops = True  # before who waits has its turn, much more may come
            self._wake()

    def feed_end(self) -> None:
        """All of the body is here."""
        self._is_whole = True
        self._wake()

    @property
    def is_read(self) -> bool:
        """Whether all of the request has come."""
        return self._is_whole

    @property
    def unread_bytes(self) -> int:
        """What is kept of a body that nobody has asked for."""
        return len(self._buffer) if self._limit is None else 0

    def _wake(self) -> None:
        if self._wakes and not self._wakes.done():
            self._wakes.set_result(None)

    @abstractmethod
    def _wanted(self) -> None:
        """The body is waited for."""

    @abstractmethod
    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """The whole answer. Returns when most of it has left; raises CallerLeft."""

    @abstractmethod
    async def begin(self, status: int, headers: Headers) -> None:
        """Of an answer in pieces."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """A piece of it, once the reader can take it. Raises CallerLeft, also of one that does not read."""

    @abstractmethod
    async def end(self, data: bytes = b"") -> None:
        """The last piece."""


def too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"request: want at most {limit} bytes, there are more")
