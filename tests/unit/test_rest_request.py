"""A ModelInfer as JSON becomes the message that gRPC's clients send, or is refused with the field that is wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from serving.errors import InvalidInput
from serving.host.background import Background
from serving.oip import rest_request
from serving.oip.schema import request_of

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SHAPES = st_np.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
ROWS = st_np.arrays(np.float32, SHAPES, elements=FLOATS)
INTEGERS = st_np.arrays(np.int64, SHAPES)


def tensor(rows, **fields):
    kind = {"f": "FP32", "i": "INT64"}[rows.dtype.kind]
    return {"name": "x", "shape": list(rows.shape), "datatype": kind, **fields}


def as_json(rows, nested=False, **fields):
    return tensor(rows, data=rows.tolist() if nested else rows.ravel().tolist(), **fields)


def as_binary(rows):
    return tensor(rows, parameters={"binary_data_size": rows.nbytes})


def asked(body, *behind, name="toy/encoder", version="", json_bytes=None):
    """What a request comes to; with something behind its JSON the length of that is said, as clients do."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    if behind and json_bytes is None:
        json_bytes = len(text)
    return rest_request.infer_request(b"".join((text, *behind)), json_bytes, name, version)


def message(body, *behind, **options):
    return request_of("ModelInfer").FromString(asked(body, *behind, **options).message)


def arrays(request):
    dtypes = {"FP32": "<f4", "INT64": "<i8"}
    pairs = zip(request.inputs, request.raw_input_contents, strict=True)
    return [np.frombuffer(raw, dtypes[one.datatype]).reshape(tuple(one.shape)) for one, raw in pairs]


def same(found, wanted):
    """To the last bit, the sign of zero too."""
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert found.tobytes() == wanted.tobytes()


@given(ROWS | INTEGERS, st.booleans())
def test_every_array_arrives_as_it_was_sent(rows, nested):
    """Flat or nested as its shape."""
    (found,) = arrays(message({"inputs": [as_json(rows, nested)]}))
    same(found, rows)


@given(ROWS)
def test_every_array_arrives_from_its_shortest_digits(rows):
    """As clients print float32 that know the type; read as float64 and then rounded, it is the same number."""
    data = "[" + ",".join(str(value) for value in rows.ravel()) + "]"
    body = json.dumps({"inputs": [tensor(rows, data="?")]}).replace('"?"', data)
    (found,) = arrays(message(body.encode()))
    same(found, rows)


@given(st.lists(ROWS | INTEGERS, min_size=1, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_binary_tensors_stand_behind_the_json_in_order(tensors, binary):
    """Any of the inputs, beside others in the JSON."""
    forms = list(zip(tensors, binary, strict=False))
    inputs = [as_binary(rows) if is_binary else as_json(rows) for rows, is_binary in forms]
    behind = [rows.tobytes() for rows, is_binary in forms if is_binary]
    for found, rows in zip(arrays(message({"inputs": inputs}, b"", *behind)), tensors, strict=True):
        same(found, rows)


def test_what_is_said_beside_the_tensors():
    """Name, version, identifier and parameters, each in the kind of parameter that its value has."""
    parameters = {
        "seed": 2**64 - 1,
        "first_row": 3,
        "temperature": 0.5,
        "pool": "one",
        "flag": True,
        "low": -5,
    }
    request = message(
        {"id": "mine", "parameters": parameters, "inputs": [], "outputs": [{"name": "mean"}]}, version="3"
    )
    assert (request.model_name, request.model_version, request.id) == ("toy/encoder", "3", "mine")
    found = {name: request.parameters[name] for name in request.parameters}
    assert {
        name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in found.items()
    } == parameters
    assert {name: one.WhichOneof("parameter_choice") for name, one in found.items()} == {
        "seed": "uint64_param", "first_row": "int64_param", "low": "int64_param",
        "temperature": "double_param", "pool": "string_param", "flag": "bool_param",
    }  # fmt: skip
    assert [output.name for output in request.outputs] == ["mean"]


def test_null_is_as_good_as_nothing():
    """Clients that write every field of theirs write it for what is not given."""
    nothing = dict.fromkeys(("id", "parameters", "outputs", "model_version"))
    rows = np.zeros((1, 2), np.float32)
    request = message({**nothing, "inputs": [as_json(rows, parameters=None)]})
    same(arrays(request)[0], rows)
    assert not any((request.id, request.parameters, request.outputs, request.model_version))


def test_the_body_may_name_the_model_too():
    """As Triton's own examples do; another than in the address is refused, a version without one is heeded."""
    rows = np.zeros((1, 2), np.float32)
    body = {"model_name": "toy/encoder", "model_version": "2", "inputs": [as_json(rows)]}
    assert message(body).model_version == "2"
    with pytest.raises(InvalidInput, match="model_version: want '3' as in the address, came '2'"):
        message(body, version="3")


@pytest.mark.parametrize(
    ("parameters", "outputs", "wanted"),
    [
        ({}, [], (False, False)),
        ({"binary_data_output": True}, [], (True, True)),
        ({"binary_data_output": False}, [{"name": "a", "parameters": {"binary_data": True}}], (True, False)),
        ({"binary_data_output": True}, [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}], (False, True)),
    ],
)  # fmt: skip
def test_which_outputs_are_wanted_as_bytes(parameters, outputs, wanted):
    """What is said of an output goes before what is said of all of them."""
    forms = asked({"parameters": parameters, "inputs": [], "outputs": outputs}).forms
    assert (forms.is_binary("a"), forms.is_binary("b")) == wanted


@pytest.mark.parametrize(("text", "length"), [(None, None), ("0", 0), ("17", 17), ("000000000000000017", 17)])
def test_the_length_of_the_json(text, length):
    assert rest_request.header_length(text) == length


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "0x10", "1 ", "١", "1" * 19, "9" * 100_000])
def test_a_length_that_is_no_number(text):
    with pytest.raises(
        InvalidInput, match=r"^inference-header-content-length: want a number of bytes, came '"
    ):
        rest_request.header_length(text)


async def test_a_large_request_is_read_beside_the_loop():
    """By a thread of the background, and to the same message."""
    rows = np.random.default_rng(0).random((100, 784), np.float32)
    body = json.dumps({"inputs": [as_json(rows)]}).encode()
    background = Background(1)
    try:
        beside = await rest_request.read(body, None, "toy/encoder", "", background)
    finally:
        background.shutdown()
    assert beside == asked(body)
