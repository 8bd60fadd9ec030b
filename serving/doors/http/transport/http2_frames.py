"""What came over a connection of HTTP/2, cut at the ends of its frames and counted before h2 sees it.

h2 keeps up to 16 MiB of a frame before it says that it is too large, makes no event of much that it is sent,
and answers nothing any more once the other end has said GOAWAY.

Source: RFC 9113, section 4.1.
"""

from collections.abc import Container

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What every connection begins with."""

_HEAD = 9
_DATA, _HEADERS, _RST_STREAM, _GOAWAY = 0, 1, 3, 7
_A_RESET = 10
"""One of a stream, in frames that ask for nothing: what it was of has cost something."""
_SLICE = 16 << 10
"""Bytes that are looked at in one turn of the event loop: of frames of 9 bytes they take some 30 ms."""


class Frames:
    """Of one connection."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._preface_bytes = len(PREFACE)
        """Of it still to come."""
        self.idle = 0.0
        """Frames that asked for nothing."""
        self.has_said_goodbye = False

    def add(self, data: bytes) -> None:
        self._pending += data

    def take(self, live: Container[int]) -> bytes:
        """Whole frames to look at next; ``live`` are the streams whose requests are still coming."""
        end = 0
        if self._preface_bytes:
            end = min(len(self._pending), self._preface_bytes)
            self._preface_bytes -= end
        while end < _SLICE and (following := self._end_of(end)):
            if self._pending[end + 3] == _GOAWAY:
                self.has_said_goodbye = True
                del self._pending[end:following]
                continue
            self._count(end, following, live)
            end = following
        taken = bytes(self._pending[:end])
        del self._pending[:end]
        return taken

    @property
    def has_more(self) -> bool:
        """Whether there are whole frames."""
        return self._end_of(0) > 0

    def is_next_beyond(self, limit: int) -> bool:
        """Whether the next frame says that it is larger."""
        return len(self._pending) >= _HEAD and int.from_bytes(self._pending[:3]) > limit

    def _end_of(self, start: int) -> int:
        """Of the frame that begins there; 0 if it is not whole."""
        if start + _HEAD > len(self._pending):
            return 0
        end = start + _HEAD + int.from_bytes(self._pending[start : start + 3])
        return end if end <= len(self._pending) else 0

    def _count(self, start: int, end: int, live: Container[int]) -> None:
        kind = self._pending[start + 3]
        stream = int.from_bytes(self._pending[start + 5 : start + _HEAD])
        is_of_use = kind == _HEADERS or (kind == _DATA and end > start + _HEAD and stream in live)
        if not is_of_use:
            self.idle += _A_RESET if kind == _RST_STREAM else 1
