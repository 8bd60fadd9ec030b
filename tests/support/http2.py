"""A client that writes whatever HTTP/2 frames it is told, as no library does (RFC 9113, RFC 7541)."""

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4
_END_STREAM, _END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE = 4
_CANCEL = 8


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header of at most 126 bytes each, neither indexed nor compressed."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


class Connection:
    """One to a gRPC server in plain text."""

    def __init__(self, address: str, *, window: int = 65_535) -> None:
        """``window``: bytes of each response that it takes before it has read some; it never reads."""
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        initial = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, initial))
        self._stream = -1

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, path: bytes, message: bytes | None = None, *, reset: bool = False) -> None:
        """Begin a call; with a message the request is whole. ``reset`` takes it back at once."""
        self._stream += 2
        fields = {b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"localhost"}
        fields |= {b"te": b"trailers", b"content-type": b"application/grpc"}
        block = b"".join(_literal(*field) for field in fields.items())
        frames = _frame(_HEADERS, _END_HEADERS, self._stream, block)
        if message is not None:
            prefixed = b"\0" + struct.pack(">I", len(message)) + message
            frames += _frame(_DATA, _END_STREAM, self._stream, prefixed)
        if reset:
            frames += _frame(_RST_STREAM, 0, self._stream, struct.pack(">I", _CANCEL))
        self._socket.sendall(frames)
