"""The tensors of a ModelInfer: out of its request, checked, and into its response.

Source: open-inference-protocol, specification/protocol/inference_grpc.md; raw contents are little-endian,
row-major and without padding. Answers are always raw: tritonclient reads nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, quoted
from serving.oip.messages import ModelInferResponse
from serving.oip.parts import Part, TensorSpec
from serving.pb.vae.v1 import tensors_pb2
from serving.wire import replies

Rows = NDArray[Any]

_TYPED = {"FP32": "fp32_contents", "INT64": "int64_contents"}
_DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
_RAW_OUTPUTS = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER


def tensor_of(request: Any, spec: TensorSpec) -> tensors_pb2.Tensor:
    """An input, as our own API takes one; its shape and values are checked where those of all doors are.

    Raises:
        InvalidInput: it is not there, is twice there, or its contents are.
    """
    index = _index(request, spec.name)
    given = request.inputs[index]
    field = _field(spec)
    if given.datatype != spec.datatype:
        raise InvalidInput(f"{field}.datatype", f"want {spec.datatype}, came {quoted(given.datatype)}")
    return tensors_pb2.Tensor(
        dtype=tensors_pb2.DATA_TYPE_FLOAT32, shape=given.shape[:], data=_bytes(request, index, spec)
    )


def number_of(request: Any, spec: TensorSpec) -> int:
    """An input that is one INT64."""
    index = _index(request, spec.name)
    given, field = request.inputs[index], _field(spec)
    if given.datatype != spec.datatype:
        raise InvalidInput(f"{field}.datatype", f"want {spec.datatype}, came {quoted(given.datatype)}")
    raw = _bytes(request, index, spec)
    if list(given.shape[:2]) != [1] or len(raw) != _DTYPES[spec.datatype].itemsize:
        raise InvalidInput(field, f"want one {spec.datatype} of shape [1], came {len(raw)} bytes")
    return int.from_bytes(raw, "little", signed=True)


def check_inputs(request: Any, part: Part) -> None:
    """Raises InvalidInput for inputs that the part does not have, and for contents in two forms."""
    known = [tensor.name for tensor in part.inputs]
    if len(request.inputs) != len(known):
        raise InvalidInput("inputs", f"want {', '.join(known)}, came {len(request.inputs)} tensors")
    for given in request.inputs:
        if given.name not in known:
            raise InvalidInput("inputs", f"want {', '.join(known)}, came {quoted(given.name)}")
        if "shared_memory_region" in given.parameters:
            raise InvalidInput(
                "inputs.parameters", "shared memory is not offered; want the contents themselves"
            )
    if not request.raw_input_contents:
        return
    if len(request.raw_input_contents) != len(request.inputs):
        raise InvalidInput(
            "raw_input_contents",
            f"want one for each of the {len(request.inputs)} inputs, came {len(request.raw_input_contents)}",
        )
    if any(given.HasField("contents") for given in request.inputs):
        raise InvalidInput("inputs.contents", "want contents or raw_input_contents, came both")


def wanted_outputs(request: Any, part: Part) -> list[str]:
    """Their names, all of them if none are asked for. Raises InvalidInput for unknown ones."""
    known = [tensor.name for tensor in part.outputs]
    if len(request.outputs) > len(known):
        raise InvalidInput("outputs", f"want some of {', '.join(known)}, came {len(request.outputs)}")
    for asked in request.outputs:
        if asked.name not in known:
            raise InvalidInput("outputs", f"want some of {', '.join(known)}, came {quoted(asked.name)}")
        if unknown := set(asked.parameters) - {"binary_data"}:
            raise InvalidInput(
                "outputs.parameters", f"want none but binary_data, came {quoted(min(unknown))}"
            )
    return [asked.name for asked in request.outputs] or known


def response(request: Any, version: int, outputs: Mapping[str, Rows], parameters: Mapping[str, int]) -> bytes:
    """A serialised ``ModelInferResponse`` with float32 arrays."""
    head = ModelInferResponse(model_name=request.model_name, model_version=str(version), id=request.id)
    for name, value in parameters.items():
        head.parameters[name].uint64_param = value
    for name, rows in outputs.items():
        head.outputs.add(name=name, datatype="FP32", shape=rows.shape)
    raw = [replies.data(_RAW_OUTPUTS, np.ascontiguousarray(rows, "<f4")) for rows in outputs.values()]
    return replies.join((head.SerializeToString(),), *raw)


def _index(request: Any, name: str) -> int:
    return next(i for i, given in enumerate(request.inputs) if given.name == name)


def _bytes(request: Any, index: int, spec: TensorSpec) -> bytes:
    if request.raw_input_contents:
        raw: bytes = request.raw_input_contents[index]
        return raw
    contents = request.inputs[index].contents
    name = _TYPED[spec.datatype]
    others = [known.name for known, _ in contents.ListFields() if known.name != name]
    if others:
        raise InvalidInput(f"{_field(spec)}.contents", f"want {name}, came {others[0]}")
    values: Sequence[Any] = getattr(contents, name)
    return bytes(np.array(values, dtype=_DTYPES[spec.datatype]).tobytes())


def _field(spec: TensorSpec) -> str:
    return f"inputs[{spec.name}]"
