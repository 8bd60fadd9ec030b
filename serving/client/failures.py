"""What the client raises when a call fails."""

import re
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError

_DETAILS_KEY = "grpc-status-details-bin"
_SAYS_HTTP = re.compile(r"http2 header with status: 4|Failed parsing HTTP/2|http1\.x server")
"""How gRPC tells of a server that speaks HTTP and not gRPC."""


class VaeError(Exception):
    """The server refused the call or could not be reached.

    ``str(error)`` is one line: the code and the server's message, which for a bad request names the
    field, what was wanted and what came.
    """

    def __init__(self, code: grpc.StatusCode, message: str, details: tuple[dict[str, Any], ...] = ()) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.details = details
        """The google.rpc details as dictionaries with their "@type", such as field violations; empty
        unless googleapis-common-protos is installed."""
        self.reason: str | None = next(
            (d["reason"] for d in details if d["@type"].endswith("ErrorInfo")), None
        )
        """The server's stable identifier of the error, such as "QUEUE_FULL", if details are known."""


def no_response(timeout_s: float) -> VaeError:
    """Of a stream that is open but brings nothing."""
    return VaeError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no response came for {timeout_s:g} s")


def no_answer(timeout_s: float) -> VaeError:
    """Of a call."""
    return VaeError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer came for {timeout_s:g} s")


def from_rpc(error: Any) -> VaeError:
    """The same for ``grpc.RpcError`` and ``grpc.aio.AioRpcError``, which share their methods."""
    message = one_line(error.details() or "no message")
    if _SAYS_HTTP.search(message):
        message += "; if this is the server's HTTP port, its address begins with http://"
    return VaeError(error.code(), message, _details(error.trailing_metadata() or ()))


def one_line(text: str) -> str:
    """Without what a terminal would take for an order."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def details_of(packed: Iterable[tuple[str, bytes]]) -> tuple[dict[str, Any], ...]:
    """Names of types and serialised messages, as ``VaeError`` has them."""
    try:
        from google.rpc import error_details_pb2  # noqa: F401  # importing makes the types known
    except ImportError:
        return ()
    try:
        return tuple(
            json_format.MessageToDict(any_pb2.Any(type_url=f"type.googleapis.com/{name}", value=value))
            for name, value in packed
        )
    except Exception:  # details of an unknown type must not hide the error itself
        return ()


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[dict[str, Any], ...]:
    try:
        from google.rpc import status_pb2
    except ImportError:
        return ()
    for key, value in metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                return ()
            return details_of((detail.TypeName(), detail.value) for detail in status.details)
    return ()
