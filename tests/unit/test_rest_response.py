"""The answer of a ModelInfer as JSON: the same numbers, whether in the JSON or behind it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from serving.host.background import Background
from serving.oip import rest_response
from serving.oip.rest_request import Forms
from serving.oip.schema import ModelInferResponse

DTYPES = {"FP32": np.float32, "INT64": np.int64}
SHAPES = st_np.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st_np.arrays(np.float32, SHAPES, elements=FLOATS) | st_np.arrays(np.int64, SHAPES)


def response(outputs, **fields):
    """Serialised, with raw contents as every answer has them."""
    built = ModelInferResponse(model_name="toy/encoder", model_version="1", **fields)
    for name, rows in outputs.items():
        kind = next(kind for kind, dtype in DTYPES.items() if rows.dtype == dtype)
        built.outputs.add(name=name, datatype=kind, shape=rows.shape)
        built.raw_output_contents.append(rows.tobytes())
    return built.SerializeToString()


def read(body, of_json):
    """As a client reads it: the document, and the arrays by name."""
    text, behind = (body, b"") if of_json is None else (body[:of_json], body[of_json:])
    document = json.loads(text)
    arrays = {}
    for output in document["outputs"]:
        if "data" in output:
            values = np.array(output["data"], DTYPES[output["datatype"]])
        else:
            size = output["parameters"]["binary_data_size"]
            values, behind = np.frombuffer(behind[:size], DTYPES[output["datatype"]]), behind[size:]
        arrays[output["name"]] = values.reshape(output["shape"])
    assert not behind
    return document, arrays


@given(st.lists(ROWS, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_every_array_is_read_back_as_it_was(tensors, binary):
    """To the last bit, through the standard library's reader, in the JSON or behind it."""
    outputs = {str(number): rows for number, rows in enumerate(tensors)}
    forms = Forms(False, dict(zip(outputs, binary, strict=False)))
    body, of_json = rest_response.infer_response(response(outputs), forms)
    assert (of_json is None) == (not any(forms.is_binary(name) for name in outputs))
    _, arrays = read(body, of_json)
    assert list(arrays) == list(outputs)
    for name, rows in outputs.items():
        assert (arrays[name].shape, arrays[name].dtype) == (rows.shape, rows.dtype)
        assert arrays[name].tobytes() == rows.tobytes()


def test_what_is_said_beside_the_arrays():
    """Integers are numbers, of all 64 bits; what there is none of is left out."""
    raw = response({}, id="mine", parameters={
        "seed": {"uint64_param": 2**64 - 1}, "low": {"int64_param": -5}, "half": {"double_param": 0.5},
        "text": {"string_param": "π"}, "flag": {"bool_param": True},
    })  # fmt: skip
    body, of_json = rest_response.infer_response(raw, Forms(False, {}))
    assert of_json is None
    assert json.loads(body) == {
        "model_name": "toy/encoder", "model_version": "1", "id": "mine", "outputs": [],
        "parameters": {"seed": 2**64 - 1, "low": -5, "half": 0.5, "text": "π", "flag": True},
    }  # fmt: skip
    body, _ = rest_response.infer_response(response({}), Forms(False, {}))
    assert json.loads(body).keys() == {"model_name", "model_version", "outputs"}


def test_the_form_of_the_specification():
    """Its own example, but for the order of the keys; floats have the fewest digits that say which they are."""
    rows = np.array([1.0, 1.1, 2.0, 2.1, 3.0, 3.1], np.float32).reshape(3, 2)
    body, _ = rest_response.infer_response(response({"output0": rows}, id="42"), Forms(False, {}))
    assert body == (
        b'{"model_name":"toy/encoder","model_version":"1","id":"42","outputs":[{"name":"output0",'
        b'"datatype":"FP32","shape":[3,2],"data":[1.0,1.1,2.0,2.1,3.0,3.1]}]}'
    )
    body, of_json = rest_response.infer_response(response({"output0": rows}), Forms(True, {}))
    assert body[:of_json].endswith(b'"shape":[3,2],"parameters":{"binary_data_size":24}}]}')
    assert body[of_json:] == rows.tobytes()


@pytest.mark.parametrize("forms", [Forms(False, {}), Forms(True, {}), Forms(False, {"b": True})])
async def test_a_large_answer_is_written_beside_the_loop(forms):
    """In several pieces by a thread of the background, and to the same bytes."""
    rng = np.random.default_rng(0)
    outputs = {name: rng.normal(size=(1000, 600)).astype(np.float32) for name in "ab"}
    raw = response(outputs)
    background = Background(1)
    try:
        beside = await rest_response.written(raw, forms, background)
    finally:
        background.shutdown()
    assert beside == rest_response.infer_response(raw, forms)
    _, arrays = read(*beside)
    for name, rows in outputs.items():
        np.testing.assert_array_equal(arrays[name], rows)


def test_no_outputs_are_no_trouble():
    """Nor is an empty array, wanted as bytes."""
    empty = np.zeros((0, 3), np.float32)
    body, of_json = rest_response.infer_response(response({"a": empty}), Forms(True, {}))
    _, arrays = read(body, of_json)
    assert arrays["a"].shape == (0, 3)
