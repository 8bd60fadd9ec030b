"""The Connect protocol: unary calls as plain POST, streams in envelopes, reads as GET.

Source: https://connectrpc.com/docs/protocol
"""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from serving.api.frame import Answer
from serving.doors.bodies import Bodies
from serving.doors.http.codecs import Codec
from serving.doors.http.framing import framed, only_message
from serving.doors.http.http_call import HttpCall
from serving.doors.http.http_status import NO_STORE, connect_error, refuse
from serving.doors.http.transport.exchange import Exchange
from serving.errors import InvalidInput, ServingError, Unsupported, quoted

_END = 2
"""Flag of a stream's last envelope."""
_LONGEST_TIMEOUT = 10
"""Digits of milliseconds."""
_MOST_FIELDS = 16
"""Of a query."""


class ConnectMethod:
    """One method, in one form of its messages."""

    def __init__(self, answer: Answer, bodies: Bodies, codec: Codec, *, limit: int) -> None:
        """``limit``: bytes that a request may have."""
        self._answer, self._bodies, self._codec, self._limit = answer, bodies, codec, limit
        self._unary_headers = (("content-type", f"application/{codec.name}"),)
        self._stream_headers = (("content-type", f"application/connect+{codec.name}"), NO_STORE)

    async def post(self, exchange: Exchange) -> None:
        """A unary call."""
        call = call_of(exchange, self._bodies, self._codec, self._limit)
        call.problem = call.problem or compression(exchange, "content-encoding")
        await self._answered(exchange, call)

    async def get(self, exchange: Exchange) -> None:
        """The same, of a method without side effects; its request is in the address."""
        codec = _Given(self._codec)
        call = call_of(exchange, self._bodies, codec, self._limit)
        try:
            call.wants_body, codec.message = False, _message_of(exchange.query)
        except ServingError as exc:
            call.problem = exc
        exchange.ignore_body()
        await self._answered(exchange, call)

    async def _answered(self, exchange: Exchange, call: HttpCall) -> None:
        try:
            body = await call.answered_by(self._answer)
        except ServingError as exc:  # kept no longer: its traceback holds the request
            await refuse(exchange, exc)
        else:
            await exchange.respond(200, self._unary_headers, body)

    async def stream(self, exchange: Exchange) -> None:
        """A call with one request and several responses; whatever becomes of it, the status is 200."""
        call = call_of(exchange, self._bodies, _Enveloped(self._codec), self._limit)
        call.problem = call.problem or compression(exchange, "connect-content-encoding")

        async def send(message: bytes) -> None:
            if not exchange.has_answer:
                await exchange.begin(200, self._stream_headers)
            await exchange.write(framed(0, message))

        call.send = send
        last: dict[str, Any] = {}
        try:
            await call.answered_by(self._answer)
        except ServingError as exc:
            last = {"error": connect_error(exc)}
        if not exchange.has_answer:
            await exchange.begin(200, self._stream_headers)
        await exchange.end(framed(_END, json.dumps(last, ensure_ascii=False).encode()))


def by_encoding(forms: Mapping[str, ConnectMethod]) -> Callable[[Exchange], Awaitable[None]]:
    """GET of a method, in the form of messages that the address names. Raises InvalidInput."""

    async def get(exchange: Exchange) -> None:
        encoding = fields_of(exchange.query).get("encoding", "")
        if encoding not in forms:
            wanted = " or ".join(forms)
            raise InvalidInput("encoding", f"want {wanted}, came {quoted(encoding)}")
        await forms[encoding].get(exchange)

    return get


class _Enveloped:
    """A codec of messages in envelopes."""

    def __init__(self, codec: Codec) -> None:
        self.name = codec.name
        self._codec = codec
        self.response = codec.response

    async def request(self, raw: bytes) -> bytes:
        compressed = InvalidInput("request", "want an envelope that is not compressed")
        return await self._codec.request(only_message(raw, "an envelope", compressed))


class _Given:
    """A codec of a message that came otherwise."""

    def __init__(self, codec: Codec) -> None:
        self.name = codec.name
        self.message = b""
        self._codec = codec
        self.response = codec.response

    async def request(self, raw: bytes) -> bytes:
        return await self._codec.request(self.message)


def call_of(exchange: Exchange, bodies: Bodies, codec: Codec, limit: int) -> HttpCall:
    """What the Connect protocol says of a call besides its message."""
    text = exchange.headers.get("connect-timeout-ms")
    problem: ServingError | None = None
    timeout_s: float | None = None
    if text is not None:
        if len(text) <= _LONGEST_TIMEOUT and text.isascii() and text.isdigit():
            timeout_s = int(text) / 1000
        else:
            problem = InvalidInput(
                "connect-timeout-ms",
                f"want a number of {_LONGEST_TIMEOUT} digits at most, came {quoted(text)}",
            )
    call = HttpCall(exchange, bodies, codec, limit=limit, timeout_s=timeout_s)
    version = exchange.headers.get("connect-protocol-version", "1")
    if version != "1":
        problem = InvalidInput("connect-protocol-version", f"want 1, came {quoted(version)}")
    call.problem = problem
    return call


def compression(exchange: Exchange, header: str) -> ServingError | None:
    """What is wrong with it. Compressed requests are refused: 2 MB of gzip became 2.3 GiB."""
    coding = exchange.headers.get(header, "identity")
    if coding == "identity":
        return None
    return Unsupported(f"{header}: want identity, came {quoted(coding)}")


def _message_of(query: str) -> bytes:
    """Raises InvalidInput."""
    wanted = fields_of(query)
    if wanted.get("connect", "v1") != "v1":
        raise InvalidInput("connect", f"want v1, came {quoted(wanted['connect'])}")
    if wanted.get("compression", "identity") not in ("identity", ""):
        raise Unsupported(f"compression: want identity, came {quoted(wanted['compression'])}")
    if "message" not in wanted:
        raise InvalidInput("message", "want the request in the address, came nothing")
    message = wanted["message"].encode("utf-8", "surrogateescape")
    if wanted.get("base64") != "1":
        return message
    try:
        return base64.b64decode(message + b"=" * (-len(message) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("message", "want base64 for addresses, came something else") from None


def fields_of(query: str) -> dict[str, str]:
    """Of an address, the last of each name. Raises InvalidInput."""
    try:
        fields = parse_qs(
            query, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="surrogateescape"
        )
    except ValueError:
        raise InvalidInput("query", f"want at most {_MOST_FIELDS} fields, there are more") from None
    return {name: values[-1] for name, values in fields.items()}
