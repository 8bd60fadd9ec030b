"""What the client raises when a call fails."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import json_format

_DETAILS_KEY = "grpc-status-details-bin"


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


def from_rpc(error: Any) -> VaeError:
    """The same for ``grpc.RpcError`` and ``grpc.aio.AioRpcError``, which share their methods."""
    message = " ".join((error.details() or "no message").split())
    return VaeError(error.code(), message, _details(error.trailing_metadata() or ()))


def _details(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[dict[str, Any], ...]:
    try:
        from google.rpc import error_details_pb2, status_pb2  # noqa: F401  # importing makes the types known
    except ImportError:
        return ()
    for key, value in metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return tuple(map(json_format.MessageToDict, status_pb2.Status.FromString(value).details))
            except Exception:  # details of an unknown type must not hide the error itself
                return ()
    return ()
