"""Responses with large tensors, written straight into wire format.

A protobuf message built in Python copies a tensor four times on its way out: ``tobytes``, into the
message, into the enclosing message, into the serialised bytes. Here the few bytes around it are cached
and joined with the array's own memory in one copy. Messages stay the definition: tests parse every reply
with the generated classes and compare.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.pb.vae.v1 import models_pb2, tensors_pb2, vae_service_pb2
from serving.protobuf_wire import delimited, varint

Part = Any
"""bytes, or a contiguous array whose memory is joined as it is."""

_DTYPE = tensors_pb2.Tensor.DTYPE_FIELD_NUMBER
_SHAPE = tensors_pb2.Tensor.SHAPE_FIELD_NUMBER
_DATA = tensors_pb2.Tensor.DATA_FIELD_NUMBER
_IMAGES_TENSOR = tensors_pb2.Images.TENSOR_FIELD_NUMBER
_MODEL = vae_service_pb2.SampleResponse.MODEL_FIELD_NUMBER  # the same in every response


def tensor(field: int, rows: NDArray[Any]) -> tuple[Part, ...]:
    """A ``vae.v1.Tensor`` field holding a contiguous float32 or uint8 array."""
    return _tensor_header((field,), rows.dtype.char, rows.shape), rows


def images(field: int, rows: NDArray[Any]) -> tuple[Part, ...]:
    """A ``vae.v1.Images`` field holding a tensor."""
    return _tensor_header((field, _IMAGES_TENSOR), rows.dtype.char, rows.shape), rows


def data(field: int, rows: NDArray[Any]) -> tuple[Part, ...]:
    """A field of bytes holding a contiguous array and nothing else."""
    return delimited(field, rows.nbytes), rows


def message(field: int, content: bytes) -> tuple[Part, ...]:
    """A field holding a message that is serialised already."""
    return (delimited(field, len(content)) + content,)


@lru_cache(maxsize=256)
def served_model(name: str, version: int, digest: str) -> tuple[Part, ...]:
    """The first field of every response: which model answered."""
    served = models_pb2.ServedModel(name=name, version=version, digest=digest)
    return message(_MODEL, served.SerializeToString())


def number(field: int, value: int) -> tuple[Part, ...]:
    """An unsigned integer field; proto3 leaves zero out."""
    return (varint(field << 3) + varint(value),) if value else ()


def join(*fields: tuple[Part, ...]) -> bytes:
    """One serialised message."""
    return b"".join([part for parts in fields for part in parts])


@lru_cache(maxsize=4096)
def _tensor_header(path: tuple[int, ...], dtype: str, shape: tuple[int, ...]) -> bytes:
    """Everything in front of a tensor's data; ``path`` are the fields that the tensor is nested in."""
    kind = tensors_pb2.DATA_TYPE_UINT8 if dtype == "B" else tensors_pb2.DATA_TYPE_FLOAT32
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    packed = b"".join(varint(axis) for axis in shape)
    head = varint(_DTYPE << 3) + varint(kind) + delimited(_SHAPE, len(packed)) + packed
    head += delimited(_DATA, size)
    for field in reversed(path):
        head = delimited(field, len(head) + size) + head
    return head
