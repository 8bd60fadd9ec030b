"""How many parts a message may have, seen before it is parsed.

Protobuf makes an object of each part: 64 MiB of empty ones hold its parser for seconds and take gigabytes,
and so do numbers of a byte each. Bytes and floating-point numbers are what large messages are made of; of
all else a caller needs little.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from functools import cache
from typing import Any, Final

from serving.errors import InvalidInput

_FEW_BYTES = 16 << 10
"""What is no longer than this is not looked at: it is parsed within two milliseconds, whatever it is."""
_PARTS = 4096
"""Of a message besides its rows, each of which may be a file."""
_MOST_BYTES = 256 << 10
"""Of names, shapes and all else that is neither bytes nor floating-point numbers."""

_BULK: Final = "bulk"
_LONGEST_VARINT = 10

Kinds = dict[int, Any]
"""Of a message's fields, by number: ``_BULK``, or the fields of a message in it."""


class Unparsable(Exception):
    """These bytes are no message."""


def check_bounds(raw: bytes, descriptor: Any, max_rows: int = 0) -> None:
    """Raises InvalidInput for a message of too many parts, Unparsable for what is none."""
    if len(raw) > _FEW_BYTES:
        _Walk(raw, _PARTS + max_rows).through(0, len(raw), _kinds(descriptor))


@cache
def _kinds(descriptor: Any) -> Kinds:
    kinds: Kinds = {}
    for field in descriptor.fields:
        if field.type == field.TYPE_MESSAGE:
            kinds[field.number] = _kinds(field.message_type)
        elif field.type in (field.TYPE_BYTES, field.TYPE_FLOAT, field.TYPE_DOUBLE):
            kinds[field.number] = _BULK
    return kinds


class _Walk:
    """Over the parts of one message, counting."""

    def __init__(self, raw: bytes, most_parts: int) -> None:
        self._raw = raw
        self._most_parts = most_parts
        self._parts = 0
        self._bytes = 0

    def through(self, position: int, end: int, kinds: Kinds) -> None:
        """The fields between two positions."""
        while position < end:
            self._count()
            key, position = self._varint(position)
            kind = kinds.get(key >> 3)
            match key & 7:
                case 0:  # a number of any length
                    _, position = self._varint(position)
                case 1:  # 64 bits
                    position += 8
                case 5:  # 32 bits
                    position += 4
                case 2:  # what tells its length
                    length, position = self._varint(position)
                    if position + length > end:
                        raise Unparsable
                    if isinstance(kind, dict):
                        self.through(position, position + length, kind)
                    elif kind is not _BULK:
                        self._weigh(length)
                    position += length
                case _:  # groups, which these messages have none of
                    raise Unparsable
        if position != end:
            raise Unparsable

    def _count(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise InvalidInput("request", f"want at most {self._most_parts} parts, there are more")

    def _weigh(self, length: int) -> None:
        self._bytes += length
        if self._bytes > _MOST_BYTES:
            raise InvalidInput(
                "request",
                f"want at most {_MOST_BYTES >> 10} KiB of names, shapes and the like, there is more",
            )

    def _varint(self, position: int) -> tuple[int, int]:
        raw = self._raw
        try:
            byte = raw[position]
            if byte < 0x80:  # most are
                return byte, position + 1
            value, shift = byte & 0x7F, 7
            for here in range(position + 1, position + _LONGEST_VARINT):
                byte = raw[here]
                value |= (byte & 0x7F) << shift
                if byte < 0x80:
                    return value, here + 1
                shift += 7
        except IndexError:
            pass
        raise Unparsable
