"""A connection of HTTP/1.1 for one thread at a time, with Python's own sockets and TLS."""

import contextlib
import os
import select
import socket
import ssl
import threading

from serving.client.http import http_failures, http_sockets
from serving.client.http.http_failures import left
from serving.client.http.http_origin import Origin
from serving.client.http.http_pool import Address
from serving.client.http.http_reply import Reply

_PIECE = 256 << 10
_TLS_PIECE = 16 << 10
"""A record."""


class BlockingConnection:
    """See ``Pooled``."""

    def __init__(self, connected: socket.socket, address: Address) -> None:
        self._socket = connected
        self._process = os.getpid()
        self.address = address
        self.is_used = self.is_spoiled = False

    def is_alive(self) -> bool:
        """Whether it is as it was left: nothing came, not even its end."""
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def send(self, head: bytes, body: bytes, reply: Reply, end: float) -> None:
        """Unless an answer comes before all of it has left. Raises OSError, CutOff, BadReply."""
        size = len(head) + len(body)
        http_sockets.expect(self._socket, size)
        try:
            if size <= http_sockets.SMALL:
                self._socket.settimeout(left(end))
                self._socket.sendall(head + body)
            else:
                self.is_spoiled = not (self._sent(head, reply, end) and self._sent(body, reply, end))
        except (BrokenPipeError, ConnectionResetError):
            self.is_spoiled = True  # an answer that says why may have come

    def receive(self, reply: Reply, end: float) -> None:
        """Some of it. Raises OSError, CutOff, BadReply."""
        self._socket.settimeout(left(end))
        self._receive(reply)

    def abort(self) -> None:
        if self._process == os.getpid():  # a copy of a process ends nothing of the original's
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # past TLS, which would talk

    def close(self) -> None:
        self._socket.close()

    def _sent(self, data: bytes, reply: Reply, end: float) -> bool:
        """False if there is an answer already."""
        view = memoryview(data)
        piece = _TLS_PIECE if isinstance(self._socket, ssl.SSLSocket) else _PIECE
        while view:
            if _is_readable(self._socket, left(end)) and self._has_answer(reply):
                return False
            self._socket.settimeout(left(end))
            view = view[self._socket.send(view[:piece]) :]
        return True

    def _has_answer(self, reply: Reply) -> bool:
        try:
            self._socket.settimeout(0)
            self._receive(reply)
        except (BlockingIOError, ssl.SSLWantReadError):  # TLS has words of its own
            return False
        return reply.has_head

    def _receive(self, reply: Reply) -> None:
        with reply.room() as room:
            count = self._socket.recv_into(room)
        if count:
            reply.received(count)
        else:
            reply.ended()


def _is_readable(connected: socket.socket, seconds: float) -> bool:
    """Wait until it can be written or read."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connected, select.POLLIN | select.POLLOUT)
        ready = poll.poll(seconds * 1000)
        return bool(ready) and ready[0][1] != select.POLLOUT
    return bool(select.select([connected], [connected], [], seconds)[0])


def connect(origin: Origin, address: Address, connect_end: float, end: float) -> BlockingConnection:
    """TCP by ``connect_end``, tunnel and TLS by ``end``. Raises OSError."""
    family, name = address
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.settimeout(left(connect_end))
        connected.connect(name)
        http_sockets.tune(connected)
        connected.settimeout(left(end))
        if origin.tunnel:
            connected.sendall(origin.tunnel)
            http_failures.check_tunnel(origin, _tunnel_answer(connected, end))
        if origin.context:
            connected.settimeout(left(end))
            connected = origin.context.wrap_socket(connected, server_hostname=origin.server_name)
    except BaseException:
        connected.close()
        raise
    return BlockingConnection(connected, address)


def _tunnel_answer(connected: socket.socket, end: float) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < http_sockets.LONGEST_TUNNEL:
        connected.settimeout(left(end))
        piece = connected.recv(http_sockets.LONGEST_TUNNEL)
        if not piece:
            break
        answer += piece
    return answer


def look_up(host: str, port: int, end: float) -> list[Address]:
    """What the name stands for. Raises OSError."""
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    came: list[Address | OSError] = []

    def ask() -> None:
        try:
            came.extend(_addresses(host, port, 0))
        except OSError as exc:
            came.append(exc)

    thread = threading.Thread(target=ask, daemon=True)  # a name server that is silent knows no deadline
    thread.start()
    thread.join(left(end))
    if thread.is_alive():
        raise TimeoutError
    for item in came:
        if isinstance(item, OSError):
            raise item
    return [item for item in came if not isinstance(item, OSError)]


def _addresses(host: str, port: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, name) for family, _, _, _, name in found]
