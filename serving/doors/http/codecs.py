"""Messages as they travel over HTTP, protobuf or its JSON form, and protobuf as the service takes it.

Source of the JSON form: https://protobuf.dev/programming-guides/json/
"""

import json
from typing import Any, Protocol

from google.protobuf import json_format

from serving.errors import InvalidInput
from serving.host.background import Background

MOST_JSON_BYTES = 8 << 20
"""Of a request: it is parsed in one go, some 10 ms for base64 of so many bytes."""
_BLANKS = b" \t\r\n"
_PARTS = 4096
"""Of a JSON text besides its rows, each of which may be a file."""
_JSON_WORK = 4
"""Printing or reading a byte of JSON, in steps of arithmetic on a value."""


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

    def __init__(self, request_type: Any, response_type: Any, max_rows: int, background: Background) -> None:
        self._request_type, self._response_type = request_type, response_type
        self._most_parts = _PARTS + max_rows
        self._background = background

    async def request(self, raw: bytes) -> bytes:
        check_json(raw, self._most_parts)
        (serialised,) = await self._background.pieces(1, len(raw) * _JSON_WORK, lambda _: self._read(raw))
        return serialised

    async def response(self, raw: bytes) -> bytes:
        (text,) = await self._background.pieces(1, len(raw) * _JSON_WORK, lambda _: self._written(raw))
        return text

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

    def _written(self, raw: bytes) -> bytes:
        message = self._response_type.FromString(raw)
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()


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


def _name(message: Any) -> str:
    return str(message.DESCRIPTOR.full_name)


def _reason(exc: BaseException) -> str:
    cause = exc.__cause__ or exc
    if isinstance(cause, RecursionError):
        return "it is nested too deeply"
    if isinstance(cause, json.JSONDecodeError):
        return f"line {cause.lineno} column {cause.colno}: {cause.msg}"
    return str(exc)
