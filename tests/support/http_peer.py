"""A server of HTTP/1.1 that says byte for byte what a test wants, as no honest one does."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from serving.pb.vae.v1 import models_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from tests.support import patience

MODELS = pb.ListModelsResponse(models=[models_pb2.Model(dataset="of the peer")]).SerializeToString()


class Conversation:
    """One connection, at the server's end."""

    def __init__(self, connected: socket.socket, number: int) -> None:
        self.socket = connected
        self._raw = b""
        self.number = number
        """How many came before it."""
        self.sent = 0

    def request(self) -> tuple[str, bytes] | None:
        """Head and body of the next one, None at the connection's end."""
        head = self.head()
        if head is None:
            return None
        size = int(head.lower().partition("content-length:")[2].partition("\r\n")[0] or 0)
        while len(self._raw) < size:
            self._read()
        body, self._raw = self._raw[:size], self._raw[size:]
        return head, body

    def head(self) -> str | None:
        """The same without reading the body."""
        while b"\r\n\r\n" not in self._raw:
            if not self._read():
                return None
        head, _, self._raw = self._raw.partition(b"\r\n\r\n")
        return head.decode() + "\r\n"

    def say(self, *raw: bytes) -> None:
        for piece in raw:
            self.socket.sendall(piece)
            self.sent += len(piece)

    def until_closed(self) -> None:
        """By the client."""
        while self._read():
            pass

    def _read(self) -> bool:
        try:
            came = self.socket.recv(1 << 16)
        except ConnectionError:
            return False
        self._raw += came
        return bool(came)


Converse = Callable[[Conversation], None]


@dataclass
class Peer:
    """What became of it."""

    address: str
    heads: list[str] = field(default_factory=list)
    """Of the requests that were read whole."""
    conversations: list[Conversation] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@contextlib.contextmanager
def peer(converse: Converse, host: str = "127.0.0.1", port: int = 0) -> Iterator[Peer]:
    """Each connection has a thread and is closed when the function returns."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server((host, port)))
        served = Peer(f"{host}:{listening.getsockname()[1]}")
        threads: list[threading.Thread] = []

        def serve(connected: socket.socket, conversation: Conversation) -> None:
            with connected, contextlib.suppress(ConnectionError, TimeoutError):
                connected.settimeout(patience.SECONDS)
                converse(conversation)

        def accept() -> None:
            while True:
                connected, _ = listening.accept()
                if stop.is_set():
                    connected.close()
                    return
                served.conversations.append(Conversation(connected, len(served.conversations)))
                threads.append(threading.Thread(target=serve, args=(connected, served.conversations[-1])))
                threads[-1].start()

        stop = threading.Event()
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield served
        finally:
            stop.set()
            socket.create_connection((host, listening.getsockname()[1])).close()
            for thread in (accepting, *threads):
                thread.join(patience.SECONDS)


@contextlib.contextmanager
def answering(*replies: bytes, host: str = "127.0.0.1", port: int = 0) -> Iterator[Peer]:
    """One reply a request, whatever the connection; the last of them ever after. ``b""`` closes it."""
    left = list(replies)

    def converse(conversation: Conversation) -> None:
        while request := conversation.request():
            served.heads.append(request[0])
            said = left.pop(0) if len(left) > 1 else left[0]
            conversation.say(said)
            if not said or b"connection: close" in said:
                return

    with peer(converse, host, port) as served:
        yield served


def reply(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body


def models(*headers: str) -> bytes:
    """What ListModels is answered."""
    return reply("200 OK", MODELS, "content-type: application/proto", *headers)


def error(status: str, content: str) -> bytes:
    return reply(status, content.encode(), "content-type: application/json")


def envelope(message: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(message)) + message


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: application/connect+proto\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = chunk(b"")


def samples(first_row: int, size: int = 4) -> bytes:
    """A chunk with a response of SampleStream: one image of so many bytes."""
    image = {"dtype": 2, "shape": [1, 1, 1, size], "data": bytes(size)}
    response = pb.SampleStreamResponse(first_row=first_row, images={"tensor": image})
    return chunk(envelope(response.SerializeToString()))
