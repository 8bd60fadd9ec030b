"""Rows of a table as JSON: columns in their order, whole numbers without a point.

Protobuf's own JSON form of an object has its members in any order, and every number with a point.
"""

import json
from collections.abc import Iterator
from typing import Any

from serving.pb.vae.v1 import tensors_pb2

_RECORDS = tensors_pb2.Records.DESCRIPTOR.full_name
_FIELD, _KEY = 1, 1
"""Of an object its members, of a member its name."""
_EXACT = 1 << 53
"""Below it every whole number is a double."""


def take_rows(message: Any, raw: bytes, mark: str) -> bytes | None:
    """The rows of a response as JSON, without the brackets around them; None if it has none.

    In the message, which is parsed from ``raw``, one row is left in their place, that holds the mark alone.
    """
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.full_name == _RECORDS and value.rows:
            names = _names(raw, field.number)
            texts = [_text(row, names) for row in value.rows]
            del value.rows[:]
            value.rows.add().fields[mark].null_value = 0
            return ", ".join(texts).encode()
    return None


def placeholder(mark: str) -> bytes:
    """What JSON has in place of the rows."""
    return f'{{"{mark}": null}}'.encode()


def _text(row: Any, names: list[str]) -> str:
    fields = row.fields
    return json.dumps({name: _value(fields[name]) for name in names}, ensure_ascii=False)


def _value(value: Any) -> object:
    match value.WhichOneof("kind"):
        case "number_value":
            number: float = value.number_value
            return int(number) if number.is_integer() and abs(number) < _EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def _names(raw: bytes, records: int) -> list[str]:
    """Of the columns in the order in which the first row has them; all rows of a response have the same."""
    content = next(part for number, part in _parts(raw) if number == records)
    rows = (part for number, part in _parts(content) if number == tensors_pb2.Records.ROWS_FIELD_NUMBER)
    members = (part for number, part in _parts(next(rows)) if number == _FIELD)
    return [next(part for number, part in _parts(member) if number == _KEY).decode() for member in members]


def _parts(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field that has a length, of a message that is one."""
    position = 0
    while position < len(raw):
        key, position = _varint(raw, position)
        match key & 7:
            case 0:
                _, position = _varint(raw, position)
            case 1:
                position += 8
            case 5:
                position += 4
            case _:
                size, position = _varint(raw, position)
                yield key >> 3, raw[position : position + size]
                position += size


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while raw[position] & 0x80:
        value |= (raw[position] & 0x7F) << shift
        shift += 7
        position += 1
    return value | raw[position] << shift, position + 1
