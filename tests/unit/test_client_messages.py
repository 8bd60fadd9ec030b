"""serving.client without a server: translation, splitting, errors, files."""

import inspect
from collections import abc

import grpc
import numpy as np
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.client import AsyncClient, Client, failures, messages, results
from serving.client.operations import Operations
from serving.client.transports import channel
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb

batches = hnp.arrays(
    st.sampled_from([np.uint8, np.float32, ">f4", np.float64]),
    hnp.array_shapes(min_dims=2, max_dims=5),
    elements=st.integers(0, 255),
)


def run(operation, answer):
    """The result of an operation, and the requests it made."""
    requests, response = [], None
    while True:
        try:
            call = operation.send(response)
        except StopIteration as stop:
            return stop.value, requests
        copied = type(call.request)()
        copied.CopyFrom(call.request)
        requests.append((call.method, copied))
        response = answer(call.method, copied)


def answer_of(max_rows, version=3):
    """A server that knows nothing but numbers: row i of a sample is i."""
    served = models_pb2.ServedModel(name="m", version=version, digest="0" * 64)

    def tensor(values):
        array = np.asarray(values, "<f4").reshape(-1, 1)
        return tensors_pb2.Tensor(dtype=1, shape=array.shape, data=array.tobytes())

    def answer(method, request):
        if method == "GetModel":
            return pb.GetModelResponse(model=models_pb2.Model(model=served, max_rows=max_rows))
        if method == "Sample":
            rows = tensor(range(request.first_row, request.first_row + request.count))
            seed = request.seed if request.HasField("seed") else 99
            return pb.SampleResponse(
                model=served, seed=seed, images=tensors_pb2.Images(tensor=rows), latents=rows
            )
        if method == "Encode":
            return pb.EncodeResponse(
                model=served, mean=request.images.tensor, log_var=request.images.tensor, latents=tensor([0])
            )
        return pb.DecodeResponse(model=served, images=tensors_pb2.Images(tensor=request.latents))

    return answer


@given(batches)
def test_arrays_survive_the_wire(batch):
    """Shape and values come back as they went, float64 and big-endian as float32, in writable arrays."""
    back = messages.from_tensors([messages.to_images(batch).tensor, messages.to_images(batch).tensor])
    np.testing.assert_array_equal(back, np.concatenate([batch, batch]))
    assert back.dtype == (np.uint8 if batch.dtype == np.uint8 else np.float32)
    assert back.flags.writeable


@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 2**20))
def test_big_samples_are_split(count, max_rows, first_row):
    """Whatever the limit, the rows are first_row to first_row + count - 1, in order, of one seed and version."""
    operation = Operations().sample("m", count, first_row=first_row, latents=True)
    samples, requests = run(operation, answer_of(max_rows))
    np.testing.assert_array_equal(
        samples.images[:, 0], np.arange(first_row, first_row + count, dtype=np.float32)
    )
    parts = [request for method, request in requests if method == "Sample"]
    assert len(parts) == -(-count // max_rows)
    assert all(request.count <= max_rows for request in parts)
    assert samples.seed == 99
    assert {(request.seed, request.model.version) for request in parts[1:]} <= {(99, 3)}


def test_limit_is_asked_once_and_only_when_needed():
    """A single row needs no look at the model; the limit of a model is asked for once."""
    operations, methods = Operations(), []
    for count in (1, 5, 5):
        _, requests = run(operations.sample("m", count), answer_of(4))
        methods.append([method for method, _ in requests])
    assert methods == [["Sample"], ["GetModel", "Sample", "Sample"], ["Sample", "Sample"]]


def test_encode_and_decode_are_split():
    """Images and latents come back in order from several calls."""
    rows = np.arange(10, dtype=np.float32).reshape(10, 1)
    posteriors, requests = run(Operations().encode("m", rows), answer_of(4))
    np.testing.assert_array_equal(posteriors.mean, rows)
    assert len(requests) == 4
    assert posteriors.latents is None
    decoded, _ = run(Operations().decode("m", rows), answer_of(3))
    np.testing.assert_array_equal(decoded.images, rows)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda o: o.sample("m", 1, seed=-1), "seed: want 0 to", id="seed"),
        pytest.param(lambda o: o.sample("m", 1, format="jpeg"), "format: want one of float32", id="format"),
        pytest.param(lambda o: o.sample("m", 1, spread=1.0), "spread: want near", id="spread alone"),
        pytest.param(lambda o: o.sample("m", 1, near_latent=np.zeros((1, 2))), "and spread", id="no spread"),
        pytest.param(
            lambda o: o.sample("m", 1, pool="a", near_latent=np.zeros((1, 2)), spread=1.0),
            "pool and",
            id="both",
        ),
        pytest.param(lambda o: o.encode("m", np.zeros((1, 2), np.int64)), "came int64", id="integers"),
        pytest.param(lambda o: o.encode("m", ["a.png"]), "PNG files", id="names of files"),
        pytest.param(
            lambda o: o.decode("m", np.zeros((1, 2), np.uint8)), "latents: want float32", id="uint8"
        ),
    ],
)
def test_arguments_that_cannot_be_sent(call, message):
    """They are refused before anything is sent, naming the argument."""
    with pytest.raises(ValueError, match=message):
        run(call(Operations()), answer_of(4))


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("localhost:50051", "dns:///localhost:50051"),
        ("dns:50051", "dns:///dns:50051"),
        ("dns:///a:1", "dns:///a:1"),
        ("unix:/run/vae.sock", "unix:/run/vae.sock"),
        ("ipv4:10.0.0.1:50051", "ipv4:10.0.0.1:50051"),
    ],
)
def test_target(address, target):
    """Plain addresses are resolved by DNS, so that all replicas take turns; other schemes stay."""
    assert channel.target(address) == target


def rpc_error(metadata):
    return grpc.aio.AioRpcError(
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.aio.Metadata(),
        grpc.aio.Metadata(*metadata),
        details="count: want\n1 to 4",
    )


def test_error_has_code_message_and_details():
    """One line with code and message; the reason and the field violations of google.rpc are decoded."""
    status = status_pb2.Status(code=3, message="count")
    violation = error_details_pb2.BadRequest.FieldViolation(field="count", description="want 1 to 4")
    for detail in (
        error_details_pb2.ErrorInfo(reason="INVALID_INPUT", domain="vaeserve"),
        error_details_pb2.BadRequest(field_violations=[violation]),
    ):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    error = failures.from_rpc(rpc_error([("grpc-status-details-bin", status.SerializeToString())]))
    assert str(error) == "INVALID_ARGUMENT: count: want 1 to 4"
    assert error.reason == "INVALID_INPUT"
    assert error.details[1]["fieldViolations"] == [{"field": "count", "description": "want 1 to 4"}]


def test_unreadable_details_do_not_hide_the_error():
    """Details that are no google.rpc.Status, or of an unknown type, leave code and message."""
    unknown = status_pb2.Status(details=[AnyMessage(type_url="type.googleapis.com/a.B", value=b"x")])
    for details in (b"\xff\xff", unknown.SerializeToString()):
        error = failures.from_rpc(rpc_error([("grpc-status-details-bin", details)]))
        assert (error.code, error.details, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, (), None)


@pytest.mark.parametrize("name", ["sample", "encode", "decode", "reconstruct", "score", "models", "model"])
def test_both_clients_show_their_methods(name):
    """Each method has the documentation and signature of the operation and says what it gives back."""
    for client in (Client, AsyncClient):
        method = getattr(client, name)
        assert method.__doc__
        assert next(iter(inspect.signature(method).parameters)) == "self"
        assert "Generator" not in str(inspect.signature(method).return_annotation)
    assert inspect.iscoroutinefunction(getattr(AsyncClient, name))


def test_both_clients_stream():
    """``sample_stream`` gives an iterator of Samples, an asynchronous one in asyncio."""
    for client, kind in ((Client, abc.Iterator), (AsyncClient, abc.AsyncIterator)):
        signature = inspect.signature(client.sample_stream)
        assert signature.return_annotation == kind[results.Samples]
        assert "rows_per_response" in signature.parameters


def test_absurd_jobs_are_refused_after_the_first_part():
    """Nothing is laid out for rows that will never come, and the line says how to have them in parts."""
    sent = []

    def answer(method, request):
        sent.append(method)
        return answer_of(10)(method, request)

    with pytest.raises(
        ValueError, match=r"count: want at most [\d,]+ rows of .* came 1,000,000,000,000; .*stream"
    ):
        run(Operations().sample("m", 10**12), answer)
    assert sent == ["GetModel", "Sample"]


def test_parts_are_made_as_they_are_asked_for():
    """A job of many parts takes no memory before its first answer."""
    parts = Operations()._parts(models_pb2.ModelRef(name="m"), 10**15, 1)
    parts.send(None)
    with pytest.raises(StopIteration) as stop:
        parts.send(pb.GetModelResponse(model=models_pb2.Model(max_rows=7)))
    assert next(stop.value.value) == slice(0, 7)


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), 1e30, 0, -1])
def test_a_timeout_that_is_none_is_refused(timeout_s):
    """gRPC would end such a call at once, with a deadline exceeded that nobody set."""
    with pytest.raises(ValueError, match=r"timeout_s: want seconds above 0, to 1e\+08, came"):
        Client("127.0.0.1:1", timeout_s=timeout_s)
    with Client("127.0.0.1:1") as client, pytest.raises(ValueError, match="timeout_s: want"):
        client.with_timeout(timeout_s)


def test_numbers_that_no_request_can_hold_are_named():
    """protobuf says that a value is out of range, but not which."""
    operations, much = Operations(), 10**23
    image = np.zeros((1, 1, 4, 4), np.uint8)
    for call, name in (
        (lambda: next(operations.sample("m", 1, first_row=much)), "first_row"),
        (lambda: operations.sample_stream("m", much), "count"),
        (lambda: operations.sample_stream("m", 1, first_row=-much), "first_row"),
        (lambda: next(operations.score("m", image, samples=much)), "samples"),
        (lambda: next(operations.interpolate("m", much, images=image)), "steps"),
    ):
        with pytest.raises(ValueError, match=rf"{name}: want -2\*\*63 to 2\*\*63-1, came"):
            call()
