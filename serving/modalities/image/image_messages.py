"""Images on their way in and out of the service, converted beside the event loop where that takes long."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle import ImageSpec
from serving.errors import InvalidInput
from serving.host.background import Background
from serving.pb.vae.v1 import tensors_pb2
from serving.wire import images as formats
from serving.wire import replies, tensors

Rows = NDArray[np.float32]
Images = NDArray[np.float32] | NDArray[np.uint8]

_FORMATS = frozenset(tensors_pb2.ImageFormat.values())
_DTYPES = (tensors_pb2.DATA_TYPE_FLOAT32, tensors_pb2.DATA_TYPE_UINT8)
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
        files = row_files(message, field, max_rows)

        def unpacked(part: slice) -> Rows:
            return from_files(files[part], field, spec, part.start)

        work = math.prod(spec.shape) * _PNG_WORK + _FILE_WORK
        return np.concatenate(await background.pieces(len(files), work, unpacked))
    if message.HasField("tensor"):
        return await read_tensor(message.tensor, f"{field}.tensor", spec, max_rows, background)
    return to_images(message, field, spec, max_rows)


async def read_tensor(
    tensor: tensors.TensorLike, field: str, spec: ImageSpec, max_rows: int, background: Background
) -> Rows:
    """The same, of a tensor alone."""
    work = tensors.rows_of(tensor, max_rows) * math.prod(spec.shape)
    if background.is_little(work):
        return from_tensor(tensor, field, spec, max_rows)
    (rows,) = await background.pieces(1, work, lambda _: from_tensor(tensor, field, spec, max_rows))
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


def to_images(message: tensors_pb2.Images, field: str, spec: ImageSpec, max_rows: int) -> Rows:
    """float32 [rows, C, H, W] in the model's value range, from a tensor or PNG files."""
    form = message.WhichOneof("content")
    if form == "tensor":
        return from_tensor(message.tensor, f"{field}.tensor", spec, max_rows)
    if form == "png":
        files = row_files(message, field, max_rows)
        return from_files(files, field, spec)
    raise InvalidInput(field, "want a tensor or PNG files, came nothing")


def from_tensor(tensor: tensors.TensorLike, field: str, spec: ImageSpec, max_rows: int) -> Rows:
    """The same, of a tensor alone."""
    rows = tensors.to_array(tensor, field, spec.shape, max_rows, _DTYPES)
    if rows.dtype == np.uint8:
        return formats.to_float32(rows, spec.value_range)
    _check_range(rows, f"{field}.data", spec)
    return rows


def rows_said(message: tensors_pb2.Images, max_rows: int) -> int:
    """How many rows a message says it has, at most as many as it may; whether it has them is to be seen."""
    if message.HasField("png"):
        return min(len(message.png.files), max_rows)
    return tensors.rows_of(message.tensor, max_rows)


def row_files(message: tensors_pb2.Images, field: str, max_rows: int) -> Sequence[bytes]:
    """The PNG files of a message that has them, of a number that may be asked for."""
    files: Sequence[bytes] = message.png.files
    tensors.check_rows(len(files), f"{field}.png.files", max_rows)
    return files


def from_files(files: Sequence[bytes], field: str, spec: ImageSpec, first: int = 0) -> Rows:
    """float32 [rows, C, H, W] of PNG files, of which the first is number ``first`` of a request."""
    try:
        return formats.to_float32(formats.from_png(files, spec.shape, first), spec.value_range)
    except ValueError as exc:
        raise InvalidInput(f"{field}.png.files", str(exc)) from None


def image_format(value: int, spec: ImageSpec) -> int:
    """A known format that these images can be written in."""
    if value not in _FORMATS:
        raise InvalidInput(
            "image_format", f"want one of {', '.join(tensors_pb2.ImageFormat.keys())}, came {value}"
        )
    if value == tensors_pb2.IMAGE_FORMAT_PNG and spec.shape[0] not in (1, 3):
        raise InvalidInput(
            "image_format", f"PNG wants images of 1 or 3 channels, this model has {spec.shape[0]}"
        )
    return value


def _check_range(rows: Rows, field: str, spec: ImageSpec) -> None:
    """Pixels beyond the value range are most often 0 to 255 by mistake; the answer would be trash."""
    low, high = spec.value_range
    least, most = float(rows.min()), float(rows.max())
    slack = 1e-3 * (high - low)
    if least < low - slack or most > high + slack:
        raise InvalidInput(field, f"want values from {low:g} to {high:g}, came {least:g} to {most:g}")
