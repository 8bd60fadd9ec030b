"""Domain errors to gRPC status: one table, and the rich details of google.rpc.

Source of the details' form: AIP-193 and google/rpc/error_details.proto.
"""

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from serving import errors

DOMAIN = "vaeserve"
DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[errors.ServingError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.NotOffered: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineUnreachable: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ShuttingDown: grpc.StatusCode.UNAVAILABLE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.ExecutionFailed: grpc.StatusCode.INTERNAL,
}


class InternalError(errors.ServingError):
    """Anything unforeseen: logged here in full, anonymous to the caller."""

    reason = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("internal error")


CODES[InternalError] = grpc.StatusCode.INTERNAL


def to_status(error: errors.ServingError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Code, message and trailing metadata for ``context.abort``."""
    code = CODES[type(error)]
    status = status_pb2.Status(code=_number(code), message=str(error))
    for detail in _details(error):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return code, str(error), ((DETAILS_KEY, status.SerializeToString()),)


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
                type="GRAPH", subject=error.missing, description=str(error)
            )
            details.append(error_details_pb2.PreconditionFailure(violations=[missing]))
        case errors.Overloaded():
            delay = Duration()
            delay.FromNanoseconds(int(error.retry_after_s * 1e9))
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return details


def _number(code: grpc.StatusCode) -> int:
    return int(code_pb2.Code.Value(code.name))
