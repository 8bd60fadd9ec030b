"""What is told of the server and of models over REST, and at which addresses."""

import json

import pytest

from serving.errors import InvalidInput
from serving.oip import rest_addresses, rest_documents
from serving.oip.rest_addresses import Address
from serving.oip.schema import message, request_of


def told(method, **fields):
    return json.loads(
        rest_documents.document(method, message(f"{method}Response")(**fields).SerializeToString())
    )


def test_the_server():
    assert told("ServerMetadata", name="vaeserve", version="1", extensions=["a"]) == {
        "name": "vaeserve", "version": "1", "extensions": ["a"]
    }  # fmt: skip


def test_a_model():
    """Every field is there, shapes are numbers."""
    tensors = [{"name": "image", "datatype": "FP32", "shape": [-1, 2**40]}]
    assert told("ModelMetadata", name="toy/encoder", inputs=tensors, properties={"digest": "x"}) == {
        "name": "toy/encoder", "versions": [], "platform": "", "inputs": tensors, "outputs": [], "properties": {"digest": "x"},
    }  # fmt: skip


def test_a_configuration():
    """The configuration itself, types by name; dynamic batching only where it is on, for its being there says so."""
    config = {
        "name": "toy/encoder",
        "max_batch_size": 4096,
        "input": [{"name": "image", "data_type": 11, "dims": [1, 4]}],
    }
    plain = told("ModelConfig", config=config)
    assert (plain["name"], plain["max_batch_size"], plain["output"]) == ("toy/encoder", 4096, [])
    assert plain["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": [1, 4], "optional": False}]
    assert not {"dynamic_batching", "model_transaction_policy"} & plain.keys()
    batching = told("ModelConfig", config={**config, "dynamic_batching": {}})["dynamic_batching"]
    assert batching == {"preferred_batch_size": [], "max_queue_delay_microseconds": 0}


def test_statistics():
    """Every duration is there, zero too, as numbers."""
    found = told("ModelStatistics", model_stats=[
        {"name": "toy/encoder", "version": "1", "inference_count": 2**40, "inference_stats": {"success": {"count": 3, "ns": 2**50}}}
    ])  # fmt: skip
    (one,) = found["model_stats"]
    assert (one["inference_count"], one["last_inference"]) == (2**40, 0)
    assert one["inference_stats"].pop("success") == {"count": 3, "ns": 2**50}
    others = ("fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    assert one["inference_stats"] == {name: {"count": 0, "ns": 0} for name in others}


def test_the_index_is_a_list():
    models = [{"name": "toy/encoder", "version": "1", "state": "READY"}]
    assert told("RepositoryIndex", models=models) == [{**models[0], "reason": ""}]


@pytest.mark.parametrize(
    ("method", "field"), [("ServerLive", "live"), ("ServerReady", "ready"), ("ModelReady", "ready")]
)
@pytest.mark.parametrize("value", [True, False])
def test_probes(method, field, value):
    """Their answer is also said by the status."""
    raw = message(f"{method}Response")(**{field: value}).SerializeToString()
    named = {"name": "toy/encoder"} if method == "ModelReady" else {}
    assert json.loads(rest_documents.document(method, raw, "toy/encoder")) == {**named, field: value}
    assert rest_documents.is_positive(method, raw) == value


def test_an_error():
    text = rest_documents.error(InvalidInput("inputs", 'want "image", came ü'))
    assert json.loads(text) == {"error": 'inputs: want "image", came ü'}


@pytest.mark.parametrize(
    ("body", "ready"), [(b"", False), (b" \n", False), (b"{}", False), (b'{"ready":true}', True), (b'{"ready":false}', False)]
)  # fmt: skip
def test_a_request_for_the_index(body, ready):
    """The body may be empty; tritonclient's is."""
    assert request_of("RepositoryIndex").FromString(rest_documents.index_request(body)).ready == ready


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"[", "request: want JSON"), (b"[]", "want a JSON object"), (b'{"ready":1}', "ready: want a boolean, came a number")],
)  # fmt: skip
def test_a_bad_request_for_the_index(body, words):
    with pytest.raises(InvalidInput, match=words):
        rest_documents.index_request(body)


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("/v2", Address("ServerMetadata")),
        ("/v2/", Address("ServerMetadata")),
        ("/v2/health/live", Address("ServerLive")),
        ("/v2/health/ready", Address("ServerReady")),
        ("/v2/models/stats", Address("ModelStatistics")),
        ("/v2/repository/index", Address("RepositoryIndex")),
        ("/v2/models/toy/encoder", Address("ModelMetadata", "toy/encoder")),
        ("/v2/models/toy%2Fencoder", Address("ModelMetadata", "toy/encoder")),
        ("/v2/models/toy/encoder/versions/3", Address("ModelMetadata", "toy/encoder", "3")),
        ("/v2/models/toy/encoder/infer", Address("ModelInfer", "toy/encoder")),
        ("/v2/models/toy%2fencoder/versions/3/infer", Address("ModelInfer", "toy/encoder", "3")),
        ("/v2/models/toy/encoder/ready", Address("ModelReady", "toy/encoder")),
        ("/v2/models/toy/encoder/versions/3/ready/", Address("ModelReady", "toy/encoder", "3")),
        ("/v2/models/toy/encoder/config", Address("ModelConfig", "toy/encoder")),
        ("/v2/models/toy/encoder/stats", Address("ModelStatistics", "toy/encoder")),
        ("/v2/models/versions/encoder", Address("ModelMetadata", "versions/encoder")),
        ("/v2/models/a%20%C3%BC/encoder/infer", Address("ModelInfer", "a ü/encoder")),
        ("/v2/models/toy", Address("ModelMetadata", "toy")),
        ("/v2/models/toy/encoder/versions/x/infer", Address("ModelInfer", "toy/encoder", "x")),
    ],
)
def test_addresses(path, address):
    """A slash in a model's name may be escaped or not, and one at the end is as good as none."""
    assert rest_addresses.find(path) == address


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1", "/v2/x", "/v2/health", "/v2/models", "/v2/models/", "/v2/repository", "/v2x", "/x/v2",
     "/v2/models/%ff/infer", "/v2/models//", "/V2"],
)  # fmt: skip
def test_what_is_no_address(path):
    assert rest_addresses.find(path) is None


def test_long_addresses_are_looked_through_at_once():
    """Not in the square of their length: a page of slashes is no attack."""
    for piece in ("/versions/1", "/versions/", "/infer", "%2f", "a"):
        found = rest_addresses.find("/v2/models/x" + piece * (300_000 // len(piece)) + "\n")
        assert found is None or found.model_name


def test_what_is_asked_at_an_address():
    """As the message that gRPC's clients send; what has a body is posted."""
    address = Address("ModelConfig", "toy/encoder", "3")
    request = request_of("ModelConfig").FromString(address.request())
    assert (request.name, request.version, address.verb) == ("toy/encoder", "3", "GET")
    assert Address("ServerLive").request() == b""
    assert Address("ModelStatistics").request() == b""
    assert {Address(method).verb for method in ("ModelInfer", "RepositoryIndex")} == {"POST"}
