"""Replies of HTTP/1.1 as their bytes come, without input or output.

Source: RFC 9112. What it leaves open and an honest server does not do is refused: where a reply ends must be
beyond doubt, or the next one on the connection is read wrongly.
"""

import re

_LONGEST_HEAD = 64 << 10
_LONGEST_LINE = 4 << 10
"""Of chunks; of what follows the last of them all together."""
_HEAD_AT_ONCE, _AT_ONCE = 64 << 10, 256 << 10
"""Bytes that may come in one piece, but for a body whose length is known."""
_TRUSTED = 64 << 20
"""Bytes that are laid out for a body before they come; of one that says it is longer, as they come."""
_DIGITS = re.compile(rb"[0-9]{1,18}")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?", re.DOTALL)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_IN_HEAD, _IN_LENGTH, _IN_CHUNK, _IN_CHUNK_LINE, _AFTER_CHUNK, _IN_TRAILER, _UNTIL_CLOSE, _WHOLE = range(8)


class BadReply(Exception):
    """What came is no reply of HTTP/1.1; one line."""


class CutOff(Exception):
    """The other end has closed before the end of its reply; one line."""


class Reply:
    """To one request. Ask for ``room``, put bytes there, tell how many: ``received``."""

    def __init__(self, *, in_pieces: bool = False) -> None:
        """``in_pieces``: the body is taken as it comes."""
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in small letters; of a name that came more than once, the values with commas between."""
        self.has_begun = False
        """Whether anything came."""
        self.keeps_alive = False
        """Whether another request may follow on the connection."""
        self.has_length = False
        """Whether a body that was cut off would be noticed."""
        self._body = bytearray()
        self._filled = 0
        """Bytes of the body that came, if its length is known."""
        self._left = 0
        """Bytes of the chunk, or of the body whose length is known, that have not come."""
        self._in_pieces = in_pieces
        self._state = _IN_HEAD
        self._line = bytearray()
        """What came of a head, or of a line between chunks."""
        self._trailer = 0
        self._scratch = bytearray()

    @property
    def has_head(self) -> bool:
        return self.status != 0

    @property
    def is_whole(self) -> bool:
        return self._state == _WHOLE

    @property
    def size(self) -> int:
        """Bytes of the body that came and were not taken."""
        return self._filled if self._is_direct else len(self._body)

    @property
    def _is_direct(self) -> bool:
        return self._state == _IN_LENGTH and not self._in_pieces

    def take(self) -> bytearray:
        """What there is of the body."""
        if self._is_direct:
            return self._body[: self._filled]
        taken, self._body = self._body, bytearray()
        return taken

    def room(self) -> memoryview:
        """Where the next bytes go."""
        if not self._is_direct:
            size = _HEAD_AT_ONCE if self._state == _IN_HEAD else _AT_ONCE
            if len(self._scratch) < size:
                self._scratch = bytearray(size)
            return memoryview(self._scratch)
        if self._filled == len(self._body):
            self._body.extend(bytes(min(self._left, _TRUSTED)))
        return memoryview(self._body)[self._filled :]

    def received(self, count: int) -> None:
        """So many bytes were put into the room. Raises BadReply."""
        self.has_begun = True
        if self._is_direct:
            self._filled += count
            self._left -= count
            if not self._left:
                self._state = _WHOLE
            return
        data = bytes(memoryview(self._scratch)[:count])
        at = 0
        while at < len(data):
            if self._state == _WHOLE:
                self.keeps_alive = False  # what follows was not asked for
                return
            at = self._STEPS[self._state](self, data, at)

    def ended(self) -> None:
        """The other end has closed. Raises CutOff if something is missing."""
        self.keeps_alive = False
        if self._state == _UNTIL_CLOSE:
            self._state = _WHOLE
        elif self._state != _WHOLE:
            raise CutOff("the connection was closed before the end of the answer")

    def _in_head(self, data: bytes, at: int) -> int:
        if not self._line and not b"HTTP/1.".startswith(data[at : at + 7]):
            raise BadReply(_other_protocol(data[at:]))
        searched = max(0, len(self._line) - 3)
        self._line += data[at:]
        end = self._line.find(b"\r\n\r\n", searched)
        if max(end, len(self._line) if end < 0 else 0) > _LONGEST_HEAD:
            raise BadReply(f"want at most {_LONGEST_HEAD} bytes of headers, there are more")
        if end < 0:
            return len(data)
        rest = len(self._line) - end - 4
        head, self._line = bytes(self._line[:end]), bytearray()
        self._begin(head)
        return len(data) - rest

    def _begin(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.fullmatch(first)
        if not found:
            raise BadReply("want a reply of HTTP/1.1, came something else")
        headers = _headers(lines)
        status = int(found[2])
        if status == 101:
            raise BadReply("want a reply of HTTP/1.1, came a change to another protocol")
        if status < 200:
            return  # the reply itself follows
        self.status, self.headers = status, headers
        options = {word.strip().lower() for word in headers.get("connection", "").split(",")}
        self.keeps_alive = found[1] == b"1" and "close" not in options
        self._frame(headers)

    def _frame(self, headers: dict[str, str]) -> None:
        """How the body ends (RFC 9112, section 6.3)."""
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        self.has_length = True
        if self.status in (204, 304):
            self._state = _WHOLE
        elif coding is not None:
            if coding.strip().lower() != "chunked" or length is not None:
                raise BadReply("want a body in chunks or of known length, came another transfer-encoding")
            self._state = _IN_CHUNK_LINE
        elif length is not None:
            lengths = {part.strip() for part in length.split(",")}
            if len(lengths) != 1 or not _DIGITS.fullmatch(next(iter(lengths)).encode("latin-1")):
                raise BadReply("want one content-length, came something else")
            self._left = int(next(iter(lengths)))
            self._state = _IN_LENGTH if self._left else _WHOLE
            if not self._in_pieces:
                self._body = bytearray(min(self._left, _TRUSTED))
        else:
            self._state = _UNTIL_CLOSE
            self.has_length = self.keeps_alive = False

    def _in_length(self, data: bytes, at: int) -> int:
        """In pieces, or what came with the head."""
        piece = memoryview(data)[at : at + self._left]
        self._left -= len(piece)
        if self._in_pieces:
            self._body += piece
        else:
            self._body[: len(piece)] = piece
            self._filled = len(piece)
        if not self._left:
            self._state = _WHOLE
        return at + len(piece)

    def _in_chunk(self, data: bytes, at: int) -> int:
        piece = memoryview(data)[at : at + self._left]
        self._body += piece
        self._left -= len(piece)
        if not self._left:
            self._state = _AFTER_CHUNK
        return at + len(piece)

    def _in_chunk_line(self, data: bytes, at: int) -> int:
        line, at = self._read_line(data, at)
        if line is not None:
            found = _CHUNK_SIZE.fullmatch(line)
            if not found:
                raise BadReply("want the size of a chunk, came something else")
            self._left = int(found[1], 16)
            self._state = _IN_CHUNK if self._left else _IN_TRAILER
        return at

    def _after_chunk(self, data: bytes, at: int) -> int:
        line, at = self._read_line(data, at)
        if line:
            raise BadReply("want the end of a chunk, came more of it")
        if line is not None:
            self._state = _IN_CHUNK_LINE
        return at

    def _in_trailer(self, data: bytes, at: int) -> int:
        line, at = self._read_line(data, at)
        if line is not None:
            self._trailer += len(line)
            if self._trailer > _LONGEST_LINE:
                raise BadReply(f"want at most {_LONGEST_LINE} bytes after a body, there are more")
            if not line:
                self._state = _WHOLE
        return at

    def _until_close(self, data: bytes, at: int) -> int:
        self._body += memoryview(data)[at:]
        return len(data)

    def _read_line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """The line without its end, or None if that has not come; and where it ends in ``data``."""
        end = data.find(b"\n", at)
        self._line += data[at:] if end < 0 else data[at : end + 1]
        if len(self._line) > _LONGEST_LINE:
            raise BadReply(
                f"want lines of at most {_LONGEST_LINE} bytes between chunks, there is a longer one"
            )
        if end < 0:
            return None, len(data)
        line, self._line = bytes(self._line), bytearray()
        if not line.endswith(b"\r\n"):
            raise BadReply("want lines that end in CR LF, one does not")
        return line[:-2], end + 1

    _STEPS = {  # noqa: RUF012  # never changed
        _IN_HEAD: _in_head,
        _IN_LENGTH: _in_length,
        _IN_CHUNK: _in_chunk,
        _IN_CHUNK_LINE: _in_chunk_line,
        _AFTER_CHUNK: _after_chunk,
        _IN_TRAILER: _in_trailer,
        _UNTIL_CLOSE: _until_close,
    }


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            raise BadReply("want headers, came a line that is none")
        key, text = name.decode().lower(), value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _other_protocol(data: bytes) -> str:
    """What its first bytes look like."""
    if data[3:4] == b"\x04" and data[5:9] == bytes(4):  # a frame of HTTP/2, SETTINGS
        return "this is a gRPC port: its address is written host:port, or want the server's HTTP port"
    if data[:2] in (b"\x15\x03", b"\x16\x03"):  # a record of TLS, alert or handshake
        return "this port wants TLS: its address begins with https://"
    return "want a reply of HTTP/1.1, came something else"
