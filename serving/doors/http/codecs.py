"""Messages as they travel over HTTP, protobuf or its JSON form, and protobuf as the service takes it.

Source of the JSON form: https://protobuf.dev/programming-guides/json/
"""

import base64
import json
import os
from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from serving.errors import InvalidInput
from serving.host.background import Background
from serving.wire import base64_pieces, record_json

MOST_JSON_BYTES = 8 << 20
"""Of a request: it is parsed in one go, some 10 ms for base64 of so many bytes."""
_BLANKS = b" \t\r\n"
_PARTS = 4096
"""Of a JSON text besides its rows, each of which may be a file."""
_JSON_WORK = 4
"""Printing or reading a byte of JSON, in steps of arithmetic on a value."""
_FEW_BYTES = 16 << 10
"""Of an answer that is printed in one go. Of others what are bytes is printed apart: that of 64 MiB takes a
second, in which nothing else could be done."""
_MARK_BYTES = 18
"""Of chance, and without padding in base64: no text of an answer has it in it."""


class Codec(Protocol):
    """Of one method."""

    name: str
    """As in ``application/proto``."""

    async def request(self, raw: bytes) -> bytes:
        """What came to the serialised request. Raises InvalidInput."""

    async def response(self, raw: bytes) -> bytes:
        """The serialised response to what leaves."""


class ProtoCodec:
    """Leaves everything as it is."""

    name = "proto"

    async def request(self, raw: bytes) -> bytes:
        return raw

    async def response(self, raw: bytes) -> bytes:
        return raw


class JsonCodec:
    """The JSON form of a method's messages."""

    name = "json"

    def __init__(
        self,
        request_type: Any,
        response_type: Any,
        max_rows: int,
        background: Background,
        cells: Callable[[], int] = lambda: 0,
    ) -> None:
        """``cells``: how many cells of a table may come in a request, now."""
        self._request_type, self._response_type = request_type, response_type
        self._most_parts = _PARTS + max_rows
        self._background = background
        self._cells = cells

    async def request(self, raw: bytes) -> bytes:
        check_json(raw, self._most_parts + self._cells())
        (serialised,) = await self._background.pieces(1, len(raw) * _JSON_WORK, lambda _: self._read(raw))
        return serialised

    async def response(self, raw: bytes) -> bytes:
        work = len(raw) * _JSON_WORK
        ((texts, blobs),) = await self._background.pieces(1, work, lambda _: self._written(raw))
        return await base64_pieces.woven(texts, blobs, self._background) if blobs else texts[0]

    def _read(self, raw: bytes) -> bytes:
        message = self._request_type()
        try:
            json_format.Parse(raw.decode(), message)
        except UnicodeDecodeError as exc:
            raise InvalidInput("request", f"want UTF-8, byte {exc.start} is none") from None
        except (json_format.ParseError, ValueError, RecursionError) as exc:
            raise InvalidInput("request", f"want the JSON form of {_name(message)}: {_reason(exc)}") from None
        serialised: bytes = message.SerializeToString()
        return serialised

    def _written(self, raw: bytes) -> tuple[list[bytes], list[bytes]]:
        """Texts, and what stands between each two of them in base64."""
        message = self._response_type.FromString(raw)
        blobs: list[bytes] = []
        mark = os.urandom(_MARK_BYTES)
        if len(raw) > _FEW_BYTES:
            _take_out(message, mark, blobs)
        rows = record_json.take_rows(message, raw, mark.hex())
        text = json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()
        if rows is not None:
            text = text.replace(record_json.placeholder(mark.hex()), rows)
        return text.split(base64.b64encode(mark)), blobs


def check_json(raw: bytes, most_parts: int) -> None:
    """Raises InvalidInput for a text that would be long in parsing. Counting bytes takes next to nothing."""
    if len(raw) > MOST_JSON_BYTES:
        raise InvalidInput(
            "request",
            f"want at most {MOST_JSON_BYTES} bytes of JSON, came {len(raw)}; larger requests go as protobuf",
        )
    if not raw.lstrip(_BLANKS).startswith(b"{"):  # protobuf takes any value without members for an object
        raise InvalidInput("request", "want a JSON object, came something else")
    parts = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if parts > most_parts:
        raise InvalidInput("request", f"want at most {most_parts} parts of JSON, came {parts}")


def _take_out(message: Any, mark: bytes, blobs: list[bytes]) -> None:
    """Leave the mark in place of all bytes of a message, in the order in which JSON has its fields.

    Messages of other packages, an object of a table's row, have none.
    """
    package = message.DESCRIPTOR.file.package
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_BYTES and field.is_repeated:
            blobs += value
            value[:] = [mark] * len(value)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            blobs.append(value)
            setattr(message, field.name, mark)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.file.package == package:
            for inner in value if field.is_repeated else (value,):
                _take_out(inner, mark, blobs)


def _name(message: Any) -> str:
    return str(message.DESCRIPTOR.full_name)


def _reason(exc: BaseException) -> str:
    cause = exc.__cause__ or exc
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    if isinstance(cause, json.JSONDecodeError):
        return f"line {cause.lineno} column {cause.colno}: {cause.msg}"
    return str(exc)
