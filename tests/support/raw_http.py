"""A client that writes whatever bytes it is told, as no library does."""

import asyncio
import ssl
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings

from tests.support.patience import SECONDS


class Raw:
    """One connection, in plain text unless it has a context of TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, server: Any, context: ssl.SSLContext | None = None) -> "Raw":
        host, _, port = server.http_address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), ssl=context))

    async def __aenter__(self) -> "Raw":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Until the other end closes; what came before a reset counts as well."""
        found = b""
        async with asyncio.timeout(SECONDS):
            try:
                while piece := await self.reader.read(1 << 16):
                    found += piece
            except ConnectionResetError:
                pass
        return found

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One with a length."""
        async with asyncio.timeout(SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(first.split()[1]), headers, body


def post(path: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """A request; ``length`` is what it says of its body."""
    said = len(body) if length is None else length
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {said}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class RawHttp2:
    """One connection of HTTP/2, as h2 has it; the test decides what is sent and what is read."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self.events: list[Any] = []

    async def start(self, *, window: int | None = None) -> None:
        """``window``: bytes of each answer that it takes before it has read some."""
        if window is not None:
            self.h2.local_settings = Settings(
                client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        await self.raw.send(self.h2.data_to_send())

    async def call(
        self, path: str, body: bytes, kind: str = "application/proto", *, ends: bool = True, **more: str
    ) -> int:
        """``more`` headers, with underscores for hyphens."""
        number = self.h2.get_next_available_stream_id()
        fields = {
            ":method": "POST",
            ":path": path,
            ":scheme": "http",
            ":authority": "localhost",
            "content-type": kind,
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        self.h2.send_headers(number, list(fields.items()))
        self.h2.send_data(number, body, end_stream=ends)
        await self.flush()
        return number

    async def until(self, *kinds: type) -> Any:
        """The next event of one of these kinds; None once the other end has closed."""
        async with asyncio.timeout(SECONDS):
            while True:
                for index, event in enumerate(self.events):
                    if isinstance(event, kinds):
                        del self.events[: index + 1]
                        return event
                try:
                    data = await self.raw.reader.read(1 << 16)
                except ConnectionResetError:
                    return None
                if not data:
                    return None
                self.events += self.h2.receive_data(data)
                await self.flush()
