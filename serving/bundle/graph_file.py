"""What an ONNX file of a bundle may hold, looked at before ONNX Runtime sees it.

Weights are inside the file: ONNX Runtime would read external data from the working directory, outside the
seal, or from an address in memory. Noise is an input: nothing random is in a graph. Operators are the
standard's own.

The server has no ``onnx`` package, so the file is walked here, by the wire format of protocol buffers and the
field numbers of onnx.proto.
"""

from collections.abc import Iterator

from serving.bundle.sealed_files import BundleError
from serving.errors import quoted

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
RANDOM_OPERATORS = frozenset({"Bernoulli", "Dropout", "Multinomial"})
"""And all that begin with Random."""
MOST_NODES = 10_000
"""Of a file. ONNX Runtime's time for a chain of nodes grows with the square of them: 6,000 take it 23 s."""

_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {4: "operator", 5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
    "opset": {1: "domain"},
}
"""Message → number of a field → what is in it. Other fields hold neither tensors nor operators."""
_REFUSED = {
    "external": "want the weights inside the file, came external data",
    "function": "want standard ONNX operators only, came a function",
    "training": "want a graph to run, came one to train",
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MOST_TAG_BYTES, _MOST_VARINT_BYTES = 5, 10


def is_random(operator: str) -> bool:
    return operator.startswith("Random") or operator in RANDOM_OPERATORS


def check_graph_file(file: str, content: bytes) -> None:
    """Raises BundleError for what a graph may not hold."""
    waiting = [("model", memoryview(content))]
    nodes = 0
    while waiting:  # no recursion: the depth is the file's
        kind, message = waiting.pop()
        nodes += kind == "node"
        if nodes > MOST_NODES:
            raise BundleError(f"{file}: want at most {MOST_NODES} nodes")
        parts = _PARTS[kind]
        for number, value in _fields(file, message):
            part = parts.get(number)
            if part is None:
                continue
            if part == "location":
                part = "external" if value else part
            if part in _REFUSED:
                raise BundleError(f"{file}: {_REFUSED[part]}")
            if isinstance(value, int):  # not the type that the field has: readers skip it
                continue
            if part in _PARTS:
                waiting.append((part, value))
            else:
                _check_word(file, part, str(bytes(value), "utf-8", "replace"))


def _check_word(file: str, part: str, word: str) -> None:
    if part == "operator" and is_random(word):
        raise BundleError(f"{file}: want no random operator in a graph, came {quoted(word)}")
    if part == "domain" and word not in STANDARD_DOMAINS:
        raise BundleError(f"{file}: want standard ONNX operators only, came {quoted(word)}")


def _fields(file: str, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field, in the order of the message."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(file, message, at, _MOST_TAG_BYTES)
        number, wire_type = tag >> 3, tag & 7
        value: int | memoryview = 0
        if wire_type == _VARINT:
            value, at = _varint(file, message, at, _MOST_VARINT_BYTES)
        elif wire_type in (_FIXED64, _FIXED32):
            at += 8 if wire_type == _FIXED64 else 4
        elif wire_type == _BYTES:
            length, at = _varint(file, message, at, _MOST_TAG_BYTES)
            value = message[at : at + length]
            at += length
        else:
            raise _broken(file)
        if at > end or not number:
            raise _broken(file)
        yield number, value


def _varint(file: str, message: memoryview, at: int, most: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for place, byte in enumerate(message[at : at + most]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            if most == _MOST_TAG_BYTES and value >= 1 << 32:
                break
            return value, at + place + 1
    raise _broken(file)


def _broken(file: str) -> BundleError:
    return BundleError(f"{file}: not an ONNX file")
