"""A decoder that gives its images as bytes too: the GPU rounds them, and a quarter of the memory is copied.

Two ONNX files one after the other are one file that holds the nodes and outputs of both: that is how protocol
buffers join messages. So the decoder stays as it was sealed, and what is added stands behind it:

    pixels = uint8(min(max(round((image - low) · 255 / (high - low)), 0), 255)), as ``wire.images.to_uint8``
    finite = the mean over a channel of (image - image): 0, or NaN for an image that has any

The operators are those that every version of ONNX since 11 has in this form.

Source: https://protobuf.dev/programming-guides/encoding/#last-one-wins and onnx.proto.
"""

import struct

from serving.protobuf_wire import delimited, varint

PIXELS, FINITE = "vaeserve_pixels", "vaeserve_finite"
"""Names of the outputs: uint8 [rows, C, H, W] and float32 [rows, C, 1, 1]."""

_UINT8, _FLOAT32 = 2, 1  # TensorProto.DataType
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_OUTPUT = 1, 5, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INTEGER, _ATTRIBUTE_TYPE, _INTEGER = 1, 3, 20, 2
_TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 2, 8, 9
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT = 1, 2, 1, 1


def with_pixels(content: bytes, image: str, value_range: tuple[float, float]) -> bytes:
    """The ONNX file of a decoder with both outputs; ``image`` is the name of the one that it has."""
    low, high = value_range
    numbers = {"low": low, "scale": 255.0 / (high - low), "black": 0.0, "white": 255.0}
    parts = [_field(_GRAPH_INITIALIZER, _number(_own(name), value)) for name, value in numbers.items()]
    steps = [
        ("Sub", (image, _own("low")), _own("raised")),
        ("Mul", (_own("raised"), _own("scale")), _own("scaled")),
        ("Round", (_own("scaled"),), _own("rounded")),
        ("Max", (_own("rounded"), _own("black")), _own("at_least")),
        ("Min", (_own("at_least"), _own("white")), _own("bounded")),
        ("Sub", (image, image), _own("nothing")),
        ("GlobalAveragePool", (_own("nothing"),), FINITE),
    ]
    nodes = [_node(*step) for step in steps]
    nodes.append(_node("Cast", (_own("bounded"),), PIXELS) + _field(_NODE_ATTRIBUTE, _integer("to", _UINT8)))
    parts += [_field(_GRAPH_NODE, node) for node in nodes]
    parts += [_field(_GRAPH_OUTPUT, _value(PIXELS, _UINT8)), _field(_GRAPH_OUTPUT, _value(FINITE, _FLOAT32))]
    return content + _field(_MODEL_GRAPH, b"".join(parts))


def _own(name: str) -> str:
    return f"vaeserve_{name}"


def _node(operator: str, inputs: tuple[str, ...], output: str) -> bytes:
    taken = b"".join(_field(_NODE_INPUT, name.encode()) for name in inputs)
    return taken + _field(_NODE_OUTPUT, output.encode()) + _field(_NODE_OPERATOR, operator.encode())


def _integer(name: str, value: int) -> bytes:
    kind = varint(_ATTRIBUTE_TYPE << 3) + varint(_INTEGER)
    return _field(_ATTRIBUTE_NAME, name.encode()) + varint(_ATTRIBUTE_INTEGER << 3) + varint(value) + kind


def _number(name: str, value: float) -> bytes:
    kind = varint(_TENSOR_TYPE << 3) + varint(_FLOAT32)
    return kind + _field(_TENSOR_NAME, name.encode()) + _field(_TENSOR_RAW, struct.pack("<f", value))


def _value(name: str, element: int) -> bytes:
    tensor = varint(_TENSOR_ELEMENT << 3) + varint(element)
    return _field(_VALUE_NAME, name.encode()) + _field(_VALUE_TYPE, _field(_TYPE_TENSOR, tensor))


def _field(number: int, content: bytes) -> bytes:
    """Of bytes, with their length in front."""
    return delimited(number, len(content)) + content
