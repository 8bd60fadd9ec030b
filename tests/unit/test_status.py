import grpc
import pytest
from google.rpc import error_details_pb2

from serving import errors
from serving.api.status import CODES, code_of, to_status

EXAMPLES = {
    errors.InvalidInput: errors.InvalidInput("count", "want 1 to 9 rows, came 0"),
    errors.NotFound: errors.NotFound("model", "x", "no model 'x'"),
    errors.NotOffered: errors.NotOffered("score.onnx", "no score graph"),
    errors.Overloaded: errors.Overloaded("full", retry_after_s=0.25),
    errors.TooManyCalls: errors.TooManyCalls("busy", retry_after_s=0.1),
    errors.MemoryShort: errors.MemoryShort("memory is short", retry_after_s=1.0),
}


def details_of(error):
    status = to_status(error)
    assert (status.message, status.code) == (str(error), grpc.StatusCode[code_of(error)].value[0])
    return {detail.TypeName().rpartition(".")[2]: detail for detail in status.details}


@pytest.mark.parametrize(
    "kind",
    [*errors.ServingError.__subclasses__(), *errors.Overloaded.__subclasses__()],
    ids=lambda kind: kind.__name__,
)
def test_every_error_has_a_code_and_error_info(kind):
    """No domain error can reach a client as UNKNOWN; each carries a reason a program can rely on."""
    assert kind in CODES
    error = EXAMPLES.get(kind) or (
        kind() if kind.__module__ == "serving.api.status" else kind("what happened")
    )
    info = error_details_pb2.ErrorInfo()
    details_of(error)["ErrorInfo"].Unpack(info)
    assert (info.reason, info.domain) == (kind.reason, "vaeserve")


def test_details_fit_the_error():
    """A field violation, a resource or a delay, where there is one."""
    violation = error_details_pb2.BadRequest()
    details_of(EXAMPLES[errors.InvalidInput])["BadRequest"].Unpack(violation)
    assert violation.field_violations[0].field == "count"
    resource = error_details_pb2.ResourceInfo()
    details_of(EXAMPLES[errors.NotFound])["ResourceInfo"].Unpack(resource)
    assert (resource.resource_type, resource.resource_name) == ("model", "x")
    missing = error_details_pb2.PreconditionFailure()
    details_of(EXAMPLES[errors.NotOffered])["PreconditionFailure"].Unpack(missing)
    assert missing.violations[0].subject == "score.onnx"
    retry = error_details_pb2.RetryInfo()
    details_of(EXAMPLES[errors.Overloaded])["RetryInfo"].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 250
