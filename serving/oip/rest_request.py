"""A ModelInfer as JSON, with or without binary tensors behind it, to the message that gRPC's clients send.

Sources: open-inference-protocol, specification/protocol/inference_rest.md; Triton's extension of binary
tensor data (docs/protocol/extension_binary_data.md), but for a tensor without any JSON.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from serving.errors import InvalidInput, plain, quoted
from serving.host.background import Background
from serving.oip import rest_json, rest_tensors
from serving.oip.contents import NO_SHARED_MEMORY
from serving.oip.rest_json import kind_of
from serving.oip.schema import request_of
from serving.wire import replies

HEADER = "inference-header-content-length"
"""How many bytes of a body are JSON, where something stands behind it."""

_ModelInferRequest = request_of("ModelInfer")
_RAW_INPUTS = _ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
_LONGEST_LENGTH = 18
"""Digits."""
_MANY = 64
"""Tensors of a request, axes of a shape, parameters: more than any model has."""
_READING, _COPIES = 3, 32
"""Steps of arithmetic on a value that a byte of JSON takes; bytes that one of them copies."""
_INT64_END = 1 << 63
_WANTED = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer"}
_REQUIRED: Any = object()


@dataclass(frozen=True)
class Forms:
    """Which outputs of the answer are wanted as bytes behind the JSON."""

    default: bool
    of: Mapping[str, bool]
    """By name, where the request says so of an output."""

    def is_binary(self, output: str) -> bool:
        return self.of.get(output, self.default)


@dataclass(frozen=True)
class Asked:
    """What a request comes to."""

    message: bytes
    """A serialised ``ModelInferRequest``."""
    forms: Forms


def header_length(text: str | None) -> int | None:
    """What the header of that name says. Raises InvalidInput."""
    if text is None:
        return None
    if not (len(text) <= _LONGEST_LENGTH and text.isascii() and text.isdigit()):
        raise InvalidInput(HEADER, f"want a number of bytes, came {quoted(text)}")
    return int(text)


async def read(
    body: bytes, json_bytes: int | None, model_name: str, model_version: str, background: Background
) -> Asked:
    """As ``infer_request``, beside the event loop where that takes long."""
    of_json = len(body) if json_bytes is None else min(json_bytes, len(body))
    work = of_json * _READING + len(body) // _COPIES
    (asked,) = await background.pieces(
        1, work, lambda _: infer_request(body, json_bytes, model_name, model_version)
    )
    return asked


def infer_request(body: bytes, json_bytes: int | None, model_name: str, model_version: str) -> Asked:
    """``json_bytes``: how many of the body are JSON; None if all are. Raises InvalidInput."""
    of_json = len(body) if json_bytes is None else json_bytes
    if json_bytes is not None and not 1 <= of_json <= len(body):
        raise InvalidInput(HEADER, f"want 1 to {len(body)}, the bytes of JSON in the body, came {of_json}")
    text = body[:of_json]
    given = rest_json.read_object(text)
    _check_keys(given, "request", "id", "parameters", "inputs", "outputs", "model_name", "model_version")
    request = _request(given, model_name, model_version)
    parameters = _take(given, "parameters", "parameters", dict, {})
    _set_parameters(request.parameters, parameters, "parameters")
    tail = _Tail(memoryview(body)[of_json:])
    tensors = [_add_input(request, tensor, field, tail) for field, tensor in _each(given, "inputs")]
    tail.check_end()
    wanted = dict(_add_output(request, output, field) for field, output in _each(given, "outputs"))
    rest_json.check_keys_once(text, given)
    default = _take(parameters, "binary_data_output", "parameters[binary_data_output]", bool, False)
    raw = [replies.data(_RAW_INPUTS, tensor) for tensor in tensors]
    message = replies.join((request.SerializeToString(),), *raw)
    return Asked(message, Forms(default, {name: flag for name, flag in wanted.items() if flag is not None}))


class _Tail:
    """What stands behind the JSON: the binary tensors, in their order."""

    def __init__(self, raw: memoryview) -> None:
        self._raw = raw
        self._taken = 0

    def take(self, size: int, field: str) -> memoryview:
        left = len(self._raw) - self._taken
        if not 0 <= size <= left:
            raise InvalidInput(
                f"{field}.parameters[binary_data_size]",
                f"want 0 to {left}, the bytes left behind the JSON, came {size}",
            )
        self._taken += size
        return self._raw[self._taken - size : self._taken]

    def check_end(self) -> None:
        if self._taken != len(self._raw):
            raise InvalidInput(
                "request", f"want {self._taken} bytes of tensors behind the JSON, came {len(self._raw)}"
            )


def _request(given: dict[str, Any], model_name: str, model_version: str) -> Any:
    """With what is said of the model; some clients say it in the body as well."""
    named = {"model_name": model_name, "model_version": model_version}
    for key, said in named.items():
        named[key] = _take(given, key, key, str, said)
        if said and named[key] != said:
            raise InvalidInput(key, f"want {quoted(said)} as in the address, came {quoted(named[key])}")
    try:
        return _ModelInferRequest(**named, id=_take(given, "id", "id", str, ""))
    except UnicodeEncodeError:
        raise InvalidInput("model_name", "want UTF-8, came other bytes") from None


def _add_input(request: Any, given: dict[str, Any], field: str, tail: _Tail) -> Any:
    """Its contents, as raw little-endian bytes or an array of them."""
    _check_keys(given, field, "name", "shape", "datatype", "parameters", "data")
    name: str = _take(given, "name", f"{field}.name", str)
    field = f"inputs[{plain(name, 100)}]"
    shape = _shape(_take(given, "shape", f"{field}.shape", list), f"{field}.shape")
    datatype: str = _take(given, "datatype", f"{field}.datatype", str)
    added = request.inputs.add(name=name, datatype=datatype, shape=shape)
    parameters = dict(_take(given, "parameters", f"{field}.parameters", dict, {}))
    if "shared_memory_region" in parameters:
        raise InvalidInput(f"{field}.parameters", NO_SHARED_MEMORY)
    size = _take(parameters, "binary_data_size", f"{field}.parameters[binary_data_size]", int, None)
    parameters.pop("binary_data_size", None)
    _set_parameters(added.parameters, parameters, f"{field}.parameters")
    data = given.get("data")
    if (size is None) == (data is None):
        came = "neither" if data is None else "both"
        raise InvalidInput(field, f"want data or binary_data_size, came {came}")
    return rest_tensors.from_json(data, shape, datatype, field) if size is None else tail.take(size, field)


def _add_output(request: Any, given: dict[str, Any], field: str) -> tuple[str, bool | None]:
    """Its name, and whether it is wanted as bytes if the request says so."""
    _check_keys(given, field, "name", "parameters")
    name: str = _take(given, "name", f"{field}.name", str)
    field = f"outputs[{plain(name, 100)}].parameters"
    parameters = _take(given, "parameters", field, dict, {})
    _set_parameters(request.outputs.add(name=name).parameters, parameters, field)
    return name, _take(parameters, "binary_data", f"{field}[binary_data]", bool, None)


def _shape(given: list[Any], field: str) -> list[int]:
    if len(given) > _MANY:
        raise InvalidInput(field, f"want at most {_MANY} axes, came {len(given)}")
    for axis in given:
        if type(axis) is not int or not 0 <= axis < _INT64_END:
            came = quoted(axis) if type(axis) in (int, float) else kind_of(axis)
            raise InvalidInput(field, f"want integers from 0 to 2^63 - 1, came {came}")
    return given


def _set_parameters(target: Any, given: dict[str, Any], field: str) -> None:
    if len(given) > _MANY:
        raise InvalidInput(field, f"want at most {_MANY}, came {len(given)}")
    for name, value in given.items():
        kind = _parameter_kind(value)
        if kind is None:
            raise InvalidInput(
                f"{field}[{plain(name, 100)}]", f"want a string, a number or a boolean, came {kind_of(value)}"
            )
        setattr(target[name], kind, value)


def _parameter_kind(value: Any) -> str | None:
    """The field of an ``InferParameter`` that holds it."""
    if type(value) is int:
        return "int64_param" if value < _INT64_END else "uint64_param"
    return {bool: "bool_param", float: "double_param", str: "string_param"}.get(type(value))


def _each(given: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of an array, with what errors call them."""
    objects: list[Any] = _take(given, key, key, list, [])
    if len(objects) > _MANY:
        raise InvalidInput(key, f"want at most {_MANY}, came {len(objects)}")
    for index, found in enumerate(objects):
        if not isinstance(found, dict):
            raise InvalidInput(f"{key}[{index}]", f"want an object, came {kind_of(found)}")
        yield f"{key}[{index}]", found


def _take(given: dict[str, Any], key: str, field: str, kind: type, default: Any = _REQUIRED) -> Any:
    """A member of that very type: a boolean is no integer. Null is as good as none."""
    value = given.get(key)
    if value is None and default is not _REQUIRED:
        return default
    if type(value) is not kind:
        came = kind_of(value) if key in given else "nothing"
        raise InvalidInput(field, f"want {_WANTED[kind]}, came {came}")
    return value


def _check_keys(given: dict[str, Any], field: str, *known: str) -> None:
    """One that is misspelt would be left unheeded."""
    if unknown := given.keys() - set(known):
        raise InvalidInput(field, f"want no keys but {', '.join(known)}, came {quoted(min(unknown))}")
