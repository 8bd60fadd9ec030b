"""How many parts a message may have, seen before it is parsed.

Protobuf makes an object of each part: 64 MiB of empty ones hold its parser for seconds and take gigabytes,
and so do numbers of a byte each. Bytes and numbers of a fixed width are what large messages are made of; of
all else a caller needs little. Rows of a table are the exception: each cell of an object is a part, or a text
of its own in a dictionary, so as many of them may come as the tables that are served can take.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Callable
from dataclasses import dataclass
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
_CELLS: Final = "cells"
"""Texts and objects that hold cells of a table."""
_OF_CELLS = frozenset({"google.protobuf.Struct", "vae.v1.Texts.dictionary"})
"""Messages and fields of that kind. An object is not looked into: as few bytes as its cells need hold no more
of them than are parsed in some ten milliseconds."""
_LONGEST_VARINT = 10

Kinds = dict[int, Any]
"""Of a message's fields, by number: ``_BULK``, ``_CELLS``, or the fields of a message in it."""


@dataclass(frozen=True)
class RecordBounds:
    """What the rows of a table take at most, in a message of as many as there may be."""

    cells: int = 0
    size: int = 0
    """Bytes, as objects."""


NO_RECORDS = RecordBounds()


class Unparsable(Exception):
    """These bytes are no message."""


def check_bounds(
    raw: bytes, descriptor: Any, max_rows: int = 0, records: Callable[[], RecordBounds] = lambda: NO_RECORDS
) -> None:
    """Raises InvalidInput for a message of too many parts, Unparsable for what is none.

    ``records`` is asked of large messages alone.
    """
    if len(raw) > _FEW_BYTES:
        bounds = records()
        walk = _Walk(raw, _PARTS + max_rows + bounds.cells, bounds.size)
        walk.through(0, len(raw), _kinds(descriptor))


@cache
def _kinds(descriptor: Any) -> Kinds:
    kinds: Kinds = {}
    for field in descriptor.fields:
        if _OF_CELLS & {field.full_name, field.message_type and field.message_type.full_name}:
            kinds[field.number] = _CELLS
        elif field.type == field.TYPE_MESSAGE:
            kinds[field.number] = _kinds(field.message_type)
        elif field.type in (field.TYPE_BYTES, field.TYPE_FLOAT, field.TYPE_DOUBLE) or (
            field.is_repeated
            and field.type in (field.TYPE_BOOL, field.TYPE_SFIXED32, field.TYPE_SFIXED64)  # packed
        ):
            kinds[field.number] = _BULK
    return kinds


class _Walk:
    """Over the parts of one message, counting."""

    def __init__(self, raw: bytes, most_parts: int, most_of_cells: int) -> None:
        self._raw = raw
        self._most_parts = most_parts
        self._most_of_cells = most_of_cells + _MOST_BYTES
        self._parts = 0
        self._bytes = 0
        self._of_cells = 0

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
                        self._weigh(length, are_cells=kind is _CELLS)
                    position += length
                case _:  # groups, which these messages have none of
                    raise Unparsable
        if position != end:
            raise Unparsable

    def _count(self) -> None:
        self._parts += 1
        if self._parts > self._most_parts:
            raise InvalidInput("request", f"want at most {self._most_parts} parts, there are more")

    def _weigh(self, length: int, *, are_cells: bool) -> None:
        if are_cells:
            self._of_cells += length
            what = "rows as objects, and of texts in columns"
            came, most = self._of_cells, self._most_of_cells
        else:
            self._bytes += length
            what = "names, shapes and the like"
            came, most = self._bytes, _MOST_BYTES
        if came > most:
            raise InvalidInput("request", f"want at most {most >> 10} KiB of {what}, there is more")

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
