"""Images on their way in and out of the service, converted beside the event loop where that takes long."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle import ImageSpec
from serving.host.background import Background
from serving.pb.vae.v1 import tensors_pb2
from serving.wire import images as formats
from serving.wire import replies, tensors

Rows = NDArray[np.float32]
Images = NDArray[np.float32] | NDArray[np.uint8]

_PNG = tensors_pb2.IMAGE_FORMAT_PNG
_UINT8 = tensors_pb2.IMAGE_FORMAT_UINT8
_PNG_WORK = 30
"""Compressing a pixel, or unpacking it, in steps of arithmetic on a value."""
_FILE_WORK = 30_000
"""Opening a file or beginning one, which holds Python's lock, in the same."""


def are_bytes(wanted: int) -> bool:
    """Whether images of this format are made from values of 8 bits."""
    return wanted in (_PNG, _UINT8)


async def read(
    message: tensors_pb2.Images, field: str, spec: ImageSpec, max_rows: int, background: Background
) -> Rows:
    """float32 [rows, C, H, W] in the model's value range. Raises InvalidInput."""
    if message.HasField("png"):
        files = tensors.row_files(message, field, max_rows)

        def unpacked(part: slice) -> Rows:
            return tensors.from_files(files[part], field, spec, part.start)

        work = math.prod(spec.shape) * _PNG_WORK + _FILE_WORK
        return np.concatenate(await background.pieces(len(files), work, unpacked))
    if message.HasField("tensor"):
        return await read_tensor(message.tensor, f"{field}.tensor", spec, max_rows, background)
    return tensors.to_images(message, field, spec, max_rows)


async def read_tensor(
    tensor: tensors.TensorLike, field: str, spec: ImageSpec, max_rows: int, background: Background
) -> Rows:
    """The same, of a tensor alone."""
    work = tensors.rows_of(tensor, max_rows) * math.prod(spec.shape)
    if background.is_little(work):
        return tensors.from_tensor(tensor, field, spec, max_rows)
    (rows,) = await background.pieces(1, work, lambda _: tensors.from_tensor(tensor, field, spec, max_rows))
    return rows


async def written(
    field: int, rows: Images, wanted: int, spec: ImageSpec, background: Background
) -> tuple[replies.Part, ...]:
    """An ``Images`` field in the format that was asked for, of images [rows, C, H, W]: floats, or bytes where
    bytes are wanted."""
    pixels, is_done = math.prod(spec.shape), rows.dtype == np.uint8

    def levels(part: slice) -> formats.Pixels:
        some: NDArray[Any] = rows[part]
        return some if is_done else formats.to_uint8(some, spec.value_range)

    if wanted == _PNG:
        files = await background.pieces(
            len(rows), pixels * _PNG_WORK + _FILE_WORK, lambda part: formats.to_png(levels(part))
        )
        content = tensors_pb2.Images(
            png=tensors_pb2.PngImages(files=[file for some in files for file in some])
        )
        return replies.message(field, content.SerializeToString())
    if wanted == _UINT8 and not is_done:
        rows = np.concatenate(await background.pieces(len(rows), pixels, levels))
    return replies.images(field, rows)
