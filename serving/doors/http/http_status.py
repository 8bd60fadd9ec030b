"""Errors as HTTP tells of them: the Connect protocol's codes and their statuses.

Source: https://connectrpc.com/docs/protocol (Error Codes, Error End-Stream).
"""

import base64
import json
import math
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2

from serving.api.status import to_status
from serving.doors.http.transport.exchange import Exchange, Headers
from serving.errors import Overloaded, RequestTooLarge, ServingError

_HTTP: dict[str, int] = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
_REFUSALS = {
    404: "not_found",
    405: "method_not_allowed",
    415: "media_type",
    421: "misdirected",
    500: "internal",
}
"""As the metrics call requests that are none of any method."""
_CODES = {404: "unimplemented", 405: "unimplemented", 415: "invalid_argument", 421: "permission_denied"}
"""What the Connect protocol calls requests that are none of any method."""
JSON = "application/json"
_REST = "/v2"
"""Addresses of Open Inference Protocol, whose errors have a form of their own."""
BEARER = ("www-authenticate", "Bearer")
NO_STORE = ("cache-control", "no-store")


def http_status(error: ServingError) -> int:
    """The status that its code stands for; that of a request that is too large says so."""
    if isinstance(error, RequestTooLarge):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return _HTTP[code_pb2.Code.Name(to_status(error).code)]


def connect_error(error: ServingError) -> dict[str, Any]:
    """What the Connect protocol says of it, code, message and details, to be written as JSON."""
    status = to_status(error)
    return {
        "code": _connect_code(code_pb2.Code.Name(status.code)),
        "message": status.message,
        "details": [_detail(packed) for packed in status.details],
    }


def _connect_code(name: str) -> str:
    return "canceled" if name == "CANCELLED" else name.lower()


def _detail(packed: Any) -> dict[str, Any]:
    name = packed.TypeName()
    kind = getattr(error_details_pb2, name.rpartition(".")[2])
    value = base64.b64encode(packed.value).rstrip(b"=").decode()
    return {
        "type": name,
        "value": value,
        "debug": json_format.MessageToDict(kind.FromString(packed.value)),
    }


def retry_headers(error: ServingError) -> Headers:
    """When it is worth another try, in whole seconds (RFC 9110, section 10.2.3)."""
    if isinstance(error, Overloaded):
        return [("retry-after", str(max(1, math.ceil(error.retry_after_s))))]
    return []


async def refuse(exchange: Exchange, error: ServingError, extra: Headers = ()) -> None:
    """Answer with the error, as the Connect protocol has it."""
    body = json.dumps(connect_error(error), ensure_ascii=False).encode()
    headers = [("content-type", JSON), NO_STORE, *retry_headers(error), *extra]
    if http_status(error) == HTTPStatus.UNAUTHORIZED:
        headers.append(BEARER)
    await exchange.respond(http_status(error), headers, body)


async def refuse_request(exchange: Exchange, status: int, message: str, extra: Headers = ()) -> None:
    """Answer what is no call of any method, with the HTTP status itself."""
    code = _CODES.get(status, "unknown")
    said = {"error": message} if exchange.path.startswith(_REST) else {"code": code, "message": message}
    body = json.dumps(said, ensure_ascii=False).encode()
    exchange.refusal = _REFUSALS.get(status, "other")
    await exchange.respond(status, [("content-type", JSON), NO_STORE, *extra], body)
