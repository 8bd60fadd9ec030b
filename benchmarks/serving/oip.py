"""The messages of Open Inference Protocol's ModelInfer, as far as raw tensors need them.

Built at run time in a descriptor pool of their own, so that nothing clashes with the generated code of
a client library in the same process. Source: kserve/open-inference-protocol,
specification/protocol/open_inference_grpc.proto.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES = {"string": _Field.TYPE_STRING, "bytes": _Field.TYPE_BYTES, "int64": _Field.TYPE_INT64}
_TENSOR = {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")}
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Tensor": _TENSOR,
    "RequestedOutput": {"name": (1, "string")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "inputs": (5, "*Tensor"),
        "outputs": (6, "*RequestedOutput"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "outputs": (5, "*Tensor"),
        "raw_output_contents": (6, "*bytes"),
    },
}
"""Message → field → (number, type); a star marks a repeated field."""


def infer_request(model: str, inputs: Mapping[str, NDArray[np.float32]], outputs: Sequence[str]) -> bytes:
    """A ModelInferRequest with float32 inputs as raw bytes."""
    request = _CLASSES["ModelInferRequest"](model_name=model)
    for name, rows in inputs.items():
        request.inputs.add(name=name, datatype="FP32", shape=rows.shape)
        request.raw_input_contents.append(rows.astype("<f4").tobytes())
    for name in outputs:
        request.outputs.add(name=name)
    return bytes(request.SerializeToString())


def outputs(reply: bytes) -> dict[str, NDArray[np.float32]]:
    """The float32 outputs of a ModelInferResponse, from raw bytes."""
    response = _CLASSES["ModelInferResponse"].FromString(reply)
    return {
        tensor.name: np.frombuffer(raw, "<f4").reshape(tuple(tensor.shape))
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="benchmark_oip.proto", package="inference", syntax="proto3"
    )
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
            if kind.startswith("*"):
                field.label = _Field.LABEL_REPEATED
            single = kind.removeprefix("*")
            if single in _TYPES:
                field.type = _TYPES[single]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = f".inference.{single}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _classes()
