"""The tensors of a ModelInfer: out of its request, checked, and into its response.

Source: open-inference-protocol, specification/protocol/inference_grpc.md; raw contents are little-endian,
row-major and without padding. Answers are always raw: tritonclient reads nothing else.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, quoted
from serving.oip.parts import Part, TensorSpec
from serving.oip.schema import ModelInferResponse
from serving.pb.vae.v1 import tensors_pb2
from serving.wire import replies

Rows = NDArray[Any]

NO_SHARED_MEMORY = "shared memory is not offered; want the contents themselves"

_FLOAT_BYTES, _INT_BYTES = 4, 8
_NOT_OFFERED = {
    "shared_memory_region": NO_SHARED_MEMORY,
    "classification": "classification is not offered; want the output as it is",
}
_RAW_OUTPUTS = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER


class GivenTensor:
    """An input, as our own API takes one: its shape and values are checked where those of all doors are."""

    dtype = tensors_pb2.DATA_TYPE_FLOAT32

    def __init__(self, request: Any, spec: TensorSpec) -> None:
        """Raises InvalidInput for another type."""
        index = next(i for i, given in enumerate(request.inputs) if given.name == spec.name)
        self._request, self._index, self._field = request, index, _field(spec)
        given = request.inputs[index]
        self.shape = given.shape
        if given.datatype != spec.datatype:
            raise InvalidInput(
                f"{self._field}.datatype", f"want {spec.datatype}, came {quoted(given.datatype)}"
            )

    @property
    def data(self) -> bytes:
        """Raises InvalidInput for contents of another type."""
        if self._request.raw_input_contents:
            raw: bytes = self._request.raw_input_contents[self._index]
            return raw
        contents = self._contents("fp32_contents")
        packed: bytes = (
            contents.SerializeToString()
        )  # ends with the floats as they are in a tensor, in one copy
        return packed[len(packed) - _FLOAT_BYTES * len(contents.fp32_contents) :]

    def number(self) -> int:
        """Of an input that is one INT64."""
        if list(self.shape[:2]) != [1]:
            raise InvalidInput(f"{self._field}.shape", f"want [1], came {list(self.shape[:8])}")
        if self._request.raw_input_contents:
            raw = self._request.raw_input_contents[self._index]
            if len(raw) != _INT_BYTES:
                raise InvalidInput(self._field, f"want {_INT_BYTES} bytes, came {len(raw)}")
            return int.from_bytes(raw, "little", signed=True)
        values = self._contents("int64_contents").int64_contents
        if len(values) != 1:
            raise InvalidInput(self._field, f"want one number, came {len(values)}")
        return int(values[0])

    def _contents(self, wanted: str) -> Any:
        contents = self._request.inputs[self._index].contents
        others = [known.name for known, _ in contents.ListFields() if known.name != wanted]
        if others:
            raise InvalidInput(f"{self._field}.contents", f"want {wanted}, came {others[0]}")
        return contents


def check_inputs(request: Any, part: Part) -> None:
    """Raises InvalidInput for inputs that the part does not have, and for contents in two forms."""
    known = [tensor.name for tensor in part.inputs]
    if len(request.inputs) != len(known):
        raise InvalidInput("inputs", f"want {', '.join(known)}, came {len(request.inputs)} tensors")
    for given in request.inputs:
        if given.name not in known:
            raise InvalidInput("inputs", f"want {', '.join(known)}, came {quoted(given.name)}")
        if "shared_memory_region" in given.parameters:
            raise InvalidInput("inputs.parameters", NO_SHARED_MEMORY)
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
            for name in unknown & _NOT_OFFERED.keys():
                raise InvalidInput("outputs.parameters", _NOT_OFFERED[name])
            raise InvalidInput(
                "outputs.parameters", f"want none but binary_data, came {quoted(min(unknown))}"
            )
    names = [asked.name for asked in request.outputs]
    if len(set(names)) < len(names):
        raise InvalidInput("outputs", "want each of them once")
    return names or known


def response(request: Any, version: int, outputs: Mapping[str, Rows], parameters: Mapping[str, int]) -> bytes:
    """A serialised ``ModelInferResponse`` with float32 arrays."""
    head = ModelInferResponse(model_name=request.model_name, model_version=str(version), id=request.id)
    if request.parameters["triton_enable_empty_final_response"].bool_param:
        head.parameters["triton_final_response"].bool_param = True
    for name, value in parameters.items():
        head.parameters[name].uint64_param = value
    for name, rows in outputs.items():
        head.outputs.add(name=name, datatype="FP32", shape=rows.shape)
    raw = [replies.data(_RAW_OUTPUTS, np.ascontiguousarray(rows, "<f4")) for rows in outputs.values()]
    return replies.join((head.SerializeToString(),), *raw)


def _field(spec: TensorSpec) -> str:
    return f"inputs[{spec.name}]"
