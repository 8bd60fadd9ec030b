"""The Connect protocol as a client speaks it: heads of requests, envelopes, and what an answer means.

Source: https://connectrpc.com/docs/protocol
"""

import base64
import json
import struct
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.message import DecodeError, EncodeError, Message

from serving.client.failures import VaeError, details_of, one_line
from serving.client.http.http_origin import Origin
from serving.client.http.http_reply import Reply
from serving.pb.vae.v1 import vae_service_pb2

_SERVICE = vae_service_pb2.DESCRIPTOR.services_by_name["VaeService"]
_PREFIX = struct.Struct(">BI")
_COMPRESSED, _END = 1, 2
_UNARY, _STREAM = "application/proto", "application/connect+proto"
_LONGEST_TIMEOUT_MS = 10**10 - 1
_MOST_BYTES = 2**31 - 1
"""Of a message: protobuf's own limit."""
_MOST_ERROR_BYTES = 64 << 10
"""Of what comes in place of an answer."""
_SHOWN = 100
"""Characters of a page that is no answer."""
_CODES = {
    "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower(): code
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}
_STATUS_CODES = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
"""Of an answer that is not the server's: a proxy's, say."""


class ConnectProtocol:
    """With one server."""

    def __init__(self, origin: Origin, metadata: tuple[tuple[str, str], ...]) -> None:
        lines = [
            *origin.headers,
            "connect-protocol-version: 1",
            "accept-encoding: identity",
            "user-agent: vaeserve-client",
            *(f"{name}: {value}" for name, value in metadata),
        ]
        self._headers = "".join(f"{line}\r\n" for line in lines)
        self._target = f"{origin.target}/{_SERVICE.full_name}"
        self._url = origin.shown
        self._responses = {
            name: message_factory.GetMessageClass(method.output_type)
            for name, method in _SERVICE.methods_by_name.items()
        }

    def head(self, method: str, size: int, timeout_s: float | None) -> bytes:
        """Of a request with a body of so many bytes; a stream has no time limit."""
        if timeout_s is None:
            own = f"content-type: {_STREAM}\r\n"
        else:
            timeout_ms = min(max(1, round(timeout_s * 1000)), _LONGEST_TIMEOUT_MS)
            own = f"content-type: {_UNARY}\r\nconnect-timeout-ms: {timeout_ms}\r\n"
        line = f"POST {self._target}/{method} HTTP/1.1\r\n"
        return f"{line}{self._headers}{own}content-length: {size}\r\n\r\n".encode()

    def check_head(self, reply: Reply, *, streamed: bool) -> bool:
        """Whether what comes is an answer; it is an error's if not. Raises VaeError for what is neither."""
        if reply.status != HTTPStatus.OK:
            return False
        wanted = _STREAM if streamed else _UNARY
        came = reply.headers.get("content-type", "")
        if came.partition(";")[0].strip().lower() != wanted:
            raise self._no_answer(reply, f"want {wanted}", grpc.StatusCode.UNKNOWN)
        coding = reply.headers.get("connect-content-encoding" if streamed else "content-encoding", "identity")
        if coding != "identity" or "content-encoding" in reply.headers:
            raise self._no_answer(reply, "want no compression", grpc.StatusCode.INTERNAL)
        if not (streamed or reply.has_length):
            raise self._no_answer(reply, "want a content-length", grpc.StatusCode.INTERNAL)
        return True

    def is_enough(self, reply: Reply) -> bool:
        """Whether no more of the body is wanted. Raises VaeError for an answer that nobody can read."""
        if reply.status == HTTPStatus.OK:
            if reply.size > _MOST_BYTES:
                raise self._too_large()
            return reply.is_whole
        return reply.is_whole or reply.size > _MOST_ERROR_BYTES

    def response(self, method: str, raw: bytearray) -> Message:
        """Raises VaeError."""
        try:
            response: Message = self._responses[method].FromString(raw)  # type: ignore[arg-type]
        except DecodeError:
            raise VaeError(
                grpc.StatusCode.INTERNAL, f"{self._url}: the answer is no message of {method}"
            ) from None
        return response

    def error(self, reply: Reply) -> VaeError:
        """Of an answer whose status is not 200, once it is here."""
        raw = reply.take()
        content = _parsed(raw)
        fallback = _STATUS_CODES.get(reply.status, grpc.StatusCode.UNKNOWN)
        if isinstance(content, dict) and isinstance(content.get("code"), str):
            return _error(content, fallback)
        return self._no_answer(reply, "", fallback, one_line(raw.decode(errors="replace")))

    def _no_answer(self, reply: Reply, wanted: str, code: grpc.StatusCode, shown: str = "") -> VaeError:
        """Of what somebody else says, or of a server that is none of ours."""
        phrase = next((f" {status.phrase}" for status in HTTPStatus if status == reply.status), "")
        kind = one_line(reply.headers.get("content-type", "no content-type"))
        message = f"{self._url}: {reply.status}{phrase} with {kind[:_SHOWN]}, which is no answer of vaeserve"
        if wanted:
            message += f": {wanted}"
        if location := reply.headers.get("location"):
            message += f"; it points to {one_line(location)[:_SHOWN]}"
        if shown:
            message += f": {shown[:_SHOWN]}"
        return VaeError(code, message)

    def _too_large(self) -> VaeError:
        return VaeError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"{self._url}: want an answer of at most {_MOST_BYTES} bytes, there are more",
        )


def serialised(request: Message) -> bytes:
    """Raises ValueError."""
    try:
        raw: bytes = request.SerializeToString()
    except (EncodeError, ValueError, MemoryError):
        raise ValueError(f"request: want at most {_MOST_BYTES} bytes in one call, there are more") from None
    return raw


def enveloped(message: bytes) -> bytes:
    return _PREFIX.pack(0, len(message)) + message


class Envelopes:
    """Of a stream, as their bytes come."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._raw = bytearray()
        self.has_ended = False
        """Whether the server has said how the call ended."""

    def feed(self, data: bytearray) -> None:
        if self._raw:
            self._raw += data
        else:
            self._raw = data

    def message(self) -> bytearray | None:
        """The next one, None if it is not here or the call has ended. Raises VaeError."""
        if self.has_ended or len(self._raw) < _PREFIX.size:
            return None
        flags, size = _PREFIX.unpack_from(self._raw)
        if flags not in (0, _END) or size > _MOST_BYTES or (flags and size > _MOST_ERROR_BYTES):
            raise VaeError(
                grpc.StatusCode.INTERNAL,
                f"{self._url}: want messages of at most {_MOST_BYTES} bytes, not compressed, came another",
            )
        if len(self._raw) < _PREFIX.size + size:
            return None
        message = self._raw[_PREFIX.size : _PREFIX.size + size]
        del self._raw[: _PREFIX.size + size]
        if not flags:
            return message
        self.has_ended = True
        self._raise_error(message)
        return None

    def _raise_error(self, raw: bytearray) -> None:
        content = _parsed(raw)
        if not isinstance(content, dict):
            raise VaeError(
                grpc.StatusCode.INTERNAL, f"{self._url}: want JSON at a stream's end, came another"
            )
        error = content.get("error")
        if error is not None:
            raise _error(error if isinstance(error, dict) else {}, grpc.StatusCode.UNKNOWN)


def _error(content: dict[str, Any], fallback: grpc.StatusCode) -> VaeError:
    """What the protocol says of an error."""
    code, message = content.get("code"), content.get("message")
    packed = [_detail(detail) for detail in _list(content.get("details"))]
    return VaeError(
        _CODES.get(code, fallback) if isinstance(code, str) else fallback,
        one_line(message) if isinstance(message, str) and message else "no message",
        details_of([detail for detail in packed if detail]),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _detail(detail: object) -> tuple[str, bytes] | None:
    """Name of its type and the serialised message."""
    if not isinstance(detail, dict):
        return None
    name, value = detail.get("type"), detail.get("value")
    if not (isinstance(name, str) and isinstance(value, str)):
        return None
    try:
        return name, base64.b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return None


def _parsed(raw: bytearray) -> Any:
    """None if it is no JSON."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None
