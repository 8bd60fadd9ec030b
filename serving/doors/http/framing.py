"""A message behind a byte of flags and its length, as Connect's streams and gRPC-Web have it."""

import struct

from serving.errors import InvalidInput, ServingError

_PREFIX = struct.Struct(">BI")
_COMPRESSED = 1


def framed(flags: int, message: bytes) -> bytes:
    return _PREFIX.pack(flags, len(message)) + message


def only_message(body: bytes, what: str, compressed: ServingError) -> bytes:
    """Of a body that is one frame, or envelope: ``what`` the protocol calls it.

    Raises InvalidInput, or ``compressed`` for a message that is.
    """
    if len(body) < _PREFIX.size:
        raise InvalidInput("request", f"want one message in {what}, came {len(body)} bytes")
    flags, size = _PREFIX.unpack_from(body)
    if flags & _COMPRESSED:
        raise compressed
    if flags or size != len(body) - _PREFIX.size:
        raise InvalidInput(
            "request", f"want one message in one {what.rsplit(maxsplit=1)[-1]}, came something else"
        )
    return body[_PREFIX.size :]
