"""Bodies that nobody honest sends: each is refused in words of ours that name the field, and soon."""

import json
import tracemalloc

import numpy as np
import pytest

from serving.errors import InvalidInput
from serving.oip import rest_json, rest_request

ROWS = np.zeros((2, 3), np.float32)
MIB = 1 << 20


def x(**changes):
    """An input as it should be, but for the changes; None takes a key away."""
    good = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [0] * 6}
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def body(*inputs, **fields):
    return json.dumps({"inputs": inputs or [x()], **fields}).encode()


def with_data(text):
    return b'{"inputs":[{"name":"x","shape":[2,3],"datatype":"FP32","data":' + text + b"}]}"


def binary(size, **changes):
    return body(x(data=None, parameters={"binary_data_size": size}, **changes))


def filled(unit, size=MIB * 4 - 1000):
    return b"[" + unit * (size // len(unit) - 1) + unit.rstrip(b",") + b"]"


def refusal(raw, json_bytes=None):
    with pytest.raises(InvalidInput) as caught:
        rest_request.infer_request(raw, json_bytes, "toy/encoder", "")
    return str(caught.value)


SHAPED = {
    "nothing": (b"", "request: want JSON: "),
    "spaces": (b"  \n", "request: want JSON: "),
    "no JSON": (b"\x80\x04]", "request: want JSON: "),
    "a form": (b"a=1&b=2", "request: want JSON: "),
    "an array": (b"[]", "request: want a JSON object, came an array"),
    "null": (b"null", "request: want a JSON object, came null"),
    "true": (b"true", "request: want a JSON object, came a boolean"),
    "half": (body()[:-5], "request: want JSON: "),
    "more behind": (body() + b"{}", "request: want JSON: "),
    "byte order mark": (b"\xef\xbb\xbf" + body(), "request: want JSON: "),
    "UTF-16": (body().decode().encode("utf-16"), "request: want JSON: "),
    "no UTF-8": (body(id="?").replace(b"?", b"\xff"), "request: want JSON: "),
    "half a pair": (body(id="?").replace(b"?", b"\\ud800"), "request: want JSON: "),
    "single quotes": (b"{'inputs':[]}", "request: want JSON: "),
    "a comment": (b'{"inputs":[] /* none */}', "request: want JSON: "),
    "trailing comma": (b'{"inputs":[],}', "request: want JSON: "),
    "deep arrays": (with_data(b"[" * 60_000), "request: want JSON: depth limit exceeded"),
    "deep objects": (b'{"a":' * 1000 + b"0" + b"}" * 1000, "request: want no keys but id"),
    "deeper objects": (b'{"a":' * 1025 + b"0" + b"}" * 1025, "request: want JSON: depth limit exceeded"),
    "a key twice": (b'{"inputs":[],"inputs":[]}', "request: want each key of a JSON object once"),
    "a parameter twice": (
        body(parameters={"a": 1, "b": ":"}).replace(b'"b"', b'"a"'),
        "request: want each key of a JSON object once",
    ),
    "a name twice": (
        with_data(b"[0,0,0,0,0,0]").replace(b'"name":"x"', b'"name":"x","na\\u006de":"y"'),
        "request: want each key of a JSON object once",
    ),
    "an unknown key": (body(parameter={}), "request: want no keys but id, parameters, inputs, outputs"),
    "a long key": (body(**{"k" * 5000: 1}), "came 'kkk"),
    "NaN": (with_data(b"[NaN,0,0,0,0,0]"), "request: want JSON: "),
    "infinity": (with_data(b"[-Infinity,0,0,0,0,0]"), "request: want JSON: "),
    "1e400": (with_data(b"[1e400,0,0,0,0,0]"), "request: want JSON: number is infinity when parsed as double"),
    "4,000 digits": (with_data(b"[" + b"7" * 4000 + b",0,0,0,0,0]"), "request: want JSON: number is infinity"),
    "a million digits": (with_data(b"[" + b"7" * MIB + b"]"), "request: want JSON: number is infinity"),
    "a long exponent": (with_data(b"[1e" + b"9" * 4000 + b"]"), "request: want JSON: number is infinity"),
    "hexadecimal": (with_data(b"[0x10,0,0,0,0,0]"), "request: want JSON: "),
    "inputs an object": (b'{"inputs":{}}', "inputs: want an array, came an object"),
    "an input a number": (body(5), "inputs[0]: want an object, came a number"),
    "no name": (body(x(), x(name=None)), "inputs[1].name: want a string, came nothing"),
    "a name a number": (body(x(name=5)), "inputs[0].name: want a string, came a number"),
    "no shape": (body(x(shape=None)), "inputs[x].shape: want an array, came nothing"),
    "a shape a number": (body(x(shape=6)), "inputs[x].shape: want an array, came a number"),
    "a negative axis": (body(x(shape=[-1, -6])), "inputs[x].shape: want integers from 0 to 2^63 - 1, came '-1'"),
    "an axis a boolean": (body(x(shape=[True, 6])), "inputs[x].shape: want integers from 0 to 2^63 - 1, came a boolean"),
    "an axis a float": (body(x(shape=[2.0, 3])), "inputs[x].shape: want integers from 0 to 2^63 - 1, came '2.0'"),
    "an axis a text": (body(x(shape=["2:3"])), "inputs[x].shape: want integers from 0 to 2^63 - 1, came a string"),
    "a large axis": (body(x(shape=[2**63])), "inputs[x].shape: want integers from 0 to 2^63 - 1, came '9223372036854775808'"),
    "large axes": (body(x(shape=[2**62] * 64)), "inputs[x].data: want "),
    "many axes": (body(x(shape=[1] * 65)), "inputs[x].shape: want at most 64 axes, came 65"),
    "no type": (body(x(datatype=None)), "inputs[x].datatype: want a string, came nothing"),
    "another type": (body(x(datatype="FP64")), "inputs[x].datatype: want FP32 or INT64, came 'FP64'"),
    "texts": (body(x(datatype="BYTES", data=["a"])), "inputs[x].datatype: want FP32 or INT64, came 'BYTES'"),
    "no data": (body(x(data=None)), "inputs[x]: want data or binary_data_size, came neither"),
    "data twice": (body(x(parameters={"binary_data_size": 24})), "inputs[x]: want data or binary_data_size, came both"),
    "data a text": (body(x(data="0,0,0,0,0,0")), "inputs[x].data: want an array, came a string"),
    "data an object": (body(x(data={"0": 0})), "inputs[x].data: want an array, came an object"),
    "too few": (body(x(data=[0] * 5)), "inputs[x].data: want 6 values for shape [2, 3], came 5"),
    "a number a text": (body(x(data=[0, 0, 0, 0, 0, "1:0"])), "inputs[x].data: want numbers, came a string"),
    "a number a boolean": (body(x(data=[0, 0, 0, True, 0, 0])), "inputs[x].data: want numbers, came a boolean"),
    "a number null": (body(x(data=[0, 0, None, 0, 0, 0])), "inputs[x].data: want numbers, came null"),
    "a number an array": (body(x(data=[0, 0, 0, 0, 0, [0]])), "inputs[x].data: want numbers, came an array"),
    "a number an object": (body(x(data=[0, {"a": 0}, 0, 0, 0, 0])), "inputs[x].data: want numbers, came an object"),
    "a fraction": (body(x(datatype="INT64", data=[0, 0, 1.5, 0, 0, 0])), "inputs[x].data: want integers, came '1.5'"),
    "beyond 64 bits": (body(x(datatype="INT64", data=[2**63] * 6)), "inputs[x].data: want integers of 64 bits"),
    "far beyond": (body(x(datatype="INT64", data=[10**30] * 6)), "inputs[x].data: want integers, came '1e+30'"),
    "nested otherwise": (body(x(data=[[0, 0]] * 3)), "inputs[x].data: want arrays nested as shape [2, 3], or a flat one"),
    "ragged": (body(x(data=[[0, 0, 0], [0, 0]])), "inputs[x].data: want arrays nested as shape [2, 3]"),
    "nested and not": (body(x(data=[[0, 0, 0], 0])), "inputs[x].data: want arrays nested as shape [2, 3]"),
    "nested deeper": (body(x(data=[[[0], 0, 0]] * 2)), "inputs[x].data: want numbers, came an array"),
    "a parameter null": (body(parameters={"seed": None}), "parameters[seed]: want a string, a number or a boolean, came null"),
    "a parameter an array": (body(parameters={"near": [0, 0]}), "parameters[near]: want a string, a number or a boolean, came an array"),
    "parameters an array": (body(parameters=[]), "parameters: want an object, came an array"),
    "many parameters": (body(parameters={str(i): 0 for i in range(65)}), "parameters: want at most 64, came 65"),
    "a flag a number": (body(parameters={"binary_data_output": 1}), "parameters[binary_data_output]: want a boolean, came a number"),
    "an output a text": (body(outputs=["mean"]), "outputs[0]: want an object, came a string"),
    "an output's flag": (
        body(outputs=[{"name": "mean", "parameters": {"binary_data": 1}}]),
        "outputs[mean].parameters[binary_data]: want a boolean, came a number",
    ),
    "an output's data": (body(outputs=[{"name": "mean", "data": []}]), "outputs[0]: want no keys but name, parameters, came 'data'"),
    "an identifier a number": (body(id=42), "id: want a string, came a number"),
    "shared memory": (
        body(x(data=None, parameters={"shared_memory_region": "r", "shared_memory_byte_size": 24})),
        "inputs[x].parameters: shared memory is not offered",
    ),
    "many inputs": (body(*[x()] * 65), "inputs: want at most 64, came 65"),
    "a size a boolean": (binary(True), "inputs[x].parameters[binary_data_size]: want an integer, came a boolean"),
    "a size a text": (binary("24"), "inputs[x].parameters[binary_data_size]: want an integer, came a string"),
    "nothing behind": (binary(24), "inputs[x].parameters[binary_data_size]: want 0 to 0, the bytes left behind the JSON, came 24"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SHAPED)
def test_bodies_that_are_wrong(fault):
    """The words say where, what was wanted and what came."""
    raw, words = SHAPED[fault]
    said = refusal(raw)
    assert words in said
    assert len(said) <= 401


@pytest.mark.parametrize(
    ("size", "behind", "words"),
    [
        (-1, 24, "want 0 to 24, the bytes left behind the JSON, came -1"),
        (25, 24, "want 0 to 24, the bytes left behind the JSON, came 25"),
        (2**63, 24, "want 0 to 24, the bytes left behind the JSON, came 9223372036854775808"),
        (23, 24, "request: want 23 bytes of tensors behind the JSON, came 24"),
        (24.0, 24, "want an integer, came a number"),
    ],
)
def test_sizes_that_lie(size, behind, words):
    """Of a tensor behind the JSON."""
    text = binary(size)
    assert words in refusal(text + bytes(behind), len(text))


@pytest.mark.parametrize("length", [0, -1, 1 << 62, len(body()) + 1])
def test_lengths_beyond_the_body(length):
    """Of the JSON; 0 stands for a tensor without any, which is not offered."""
    assert refusal(body(), length).startswith(f"inference-header-content-length: want 1 to {len(body())}")


def test_a_length_that_cuts_the_json():
    assert "want JSON" in refusal(body(), 10)
    assert "bytes of tensors behind the JSON" in refusal(body() + b" " * 10, len(body()))


MUCH = {
    "bytes": (with_data(b" " * (4 * MIB) + b"[]"), "want at most 4194304 bytes in JSON"),
    "zeros": (with_data(filled(b"0,")), "want at most 131072 values in JSON"),
    "empty arrays": (with_data(filled(b"[],")), "want at most 131072 values in JSON"),
    "fewer empty arrays": (with_data(filled(b"[]        ,", MIB)), "want at most 65536 arrays in JSON"),
    "empty objects": (with_data(filled(b"{}        ,", MIB)), "want at most 1024 objects in JSON"),
    "inputs": (b'{"inputs":' + filled(b'{"name":"x"}   ,', MIB) + b"}", "want at most 1024 objects in JSON"),
    "ten million inputs": (b'{"inputs":' + filled(b"{},", 30_000_000) + b"}", "want at most 4194304 bytes in JSON"),
    "keys": (b"{" + b",".join(b'"%d":0' % i for i in range(100_000)) + b"}", "want at most 8192 quotes in JSON"),
    "texts": (with_data(filled(b'""        ,', MIB)), "want at most 8192 quotes in JSON"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MUCH)
def test_too_much_is_refused_before_it_is_parsed(kind):
    """Nothing is made of it, and the words say where large tensors go."""
    raw, words = MUCH[kind]
    tracemalloc.start()
    try:
        said = refusal(raw)
        assert tracemalloc.get_traced_memory()[1] < len(raw) + MIB // 4
    finally:
        tracemalloc.stop()
    assert said.startswith("request: ")
    assert words in said
    assert "larger tensors go as binary data behind it" in said


def test_as_much_as_may_be_is_taken():
    """All bounds leave room for what is honest: 160 images of 28 x 28 pixels, nested, with all their digits."""
    rows = np.random.default_rng(0).random((160, 1, 28, 28), np.float32)
    text = body(x(shape=rows.shape, data=rows.tolist()))
    assert rest_json.MOST_BYTES // 2 < len(text) < rest_json.MOST_BYTES
    rest_request.infer_request(text, None, "toy/encoder", "")


def test_names_in_errors_are_short():
    """However long what came is."""
    assert len(refusal(body(x(name="n" * 100_000, data=5)))) < 250
    assert len(refusal(body(x(datatype="d" * 100_000)))) < 250
    assert len(refusal(body(parameters={"p" * 100_000: None}))) < 250


def test_a_name_that_no_text_can_hold():
    """A door may hand on bytes of an address that are no UTF-8."""
    with pytest.raises(InvalidInput, match="model_name: want UTF-8"):
        rest_request.infer_request(body(), None, "\udcff", "")


@pytest.mark.parametrize(
    "text", [rb"a\u003Ab:", rb"a\\u003ab", rb"\\\u003a", rb"\\\\u003a", rb"\u003a\u003A\n"]
)
def test_colons_that_are_written_otherwise(text):
    """They hide no key that is there twice, and make none out of one that is there once."""
    raw = body(id="?").replace(b"?", text)
    rest_request.infer_request(raw, None, "toy/encoder", "")
    for more in (b'"id":"",', b'"inputs":[],'):
        twice = raw.replace(b"{", b"{" + more, 1)
        assert refusal(twice) == "request: want each key of a JSON object once"
