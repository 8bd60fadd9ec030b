"""Domain errors to ``google.rpc.Status``: one table of codes, and the rich details.

The codes are gRPC's, whatever door the status leaves by.

Source of the details' form: AIP-193 and google/rpc/error_details.proto.
"""

from typing import Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from serving import errors

DOMAIN = "vaeserve"
_NEARLY_S = 0.002
"""A call that is cut off so shortly before its deadline was cut off by it; clocks differ."""

CODES: dict[type[errors.ServingError], str] = {
    errors.InvalidInput: "INVALID_ARGUMENT",
    errors.NotFound: "NOT_FOUND",
    errors.NotOffered: "FAILED_PRECONDITION",
    errors.Overloaded: "RESOURCE_EXHAUSTED",
    errors.TooManyCalls: "RESOURCE_EXHAUSTED",
    errors.MemoryShort: "RESOURCE_EXHAUSTED",
    errors.RequestUnfinished: "DEADLINE_EXCEEDED",
    errors.RequestTooLarge: "RESOURCE_EXHAUSTED",
    errors.Unsupported: "UNIMPLEMENTED",
    errors.DeadlineUnreachable: "DEADLINE_EXCEEDED",
    errors.ShuttingDown: "UNAVAILABLE",
    errors.Unauthenticated: "UNAUTHENTICATED",
    errors.OutputNotFinite: "OUT_OF_RANGE",
    errors.ExecutionFailed: "INTERNAL",
}


class InternalError(errors.ServingError):
    """Anything unforeseen: logged here in full, anonymous to the caller."""

    reason = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("internal error")


CODES[InternalError] = "INTERNAL"


def code_of(error: errors.ServingError) -> str:
    """The name of its code, a ``google.rpc.Code``."""
    return CODES[type(error)]


class Timed(Protocol):
    """A call that may have a deadline."""

    def time_remaining(self) -> float | None: ...


def code_of_cut(call: Timed) -> str:
    """Of a call that its door has cut off: its deadline has passed, or its caller has left."""
    left = call.time_remaining()
    return "CANCELLED" if left is None or left > _NEARLY_S else "DEADLINE_EXCEEDED"


def to_status(error: errors.ServingError) -> status_pb2.Status:
    """Code, message and details, as every door tells of an error."""
    status = status_pb2.Status(code=code_pb2.Code.Value(code_of(error)), message=str(error))
    for detail in _details(error):
        status.details.add().Pack(detail)
    return status


def _details(error: errors.ServingError) -> list[Message]:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    match error:
        case errors.InvalidInput():
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=error.field, description=error.description
            )
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        case errors.NotFound():
            details.append(
                error_details_pb2.ResourceInfo(
                    resource_type=error.kind, resource_name=error.name, description=str(error)
                )
            )
        case errors.NotOffered():
            missing = error_details_pb2.PreconditionFailure.Violation(
                type="GRAPH" if error.missing.endswith(".onnx") else "FILE",
                subject=error.missing,
                description=str(error),
            )
            details.append(error_details_pb2.PreconditionFailure(violations=[missing]))
        case errors.Overloaded():
            delay = Duration()
            delay.FromNanoseconds(int(error.retry_after_s * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details
