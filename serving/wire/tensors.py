"""Wire messages to numpy rows and back; every check of what a caller sends is here.

Nothing is queued before it passed: one bad request never harms its neighbours.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.bundle import ImageSpec
from serving.errors import InvalidInput
from serving.finite import all_finite
from serving.pb.vae.v1 import tensors_pb2 as pb
from serving.wire import images as formats

Rows = NDArray[np.float32]

_DTYPES: dict[int, np.dtype[np.generic]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
}
_FEW_AXES = 8
"""Of a shape that is said back."""
_IMAGE_FORMATS = frozenset(pb.ImageFormat.values())


def row_count(count: int, max_rows: int, field: str = "count") -> int:
    """A number of rows that may be asked for."""
    _check_rows(count, field, max_rows)
    return count


class TensorLike(Protocol):
    """What is asked of a tensor, whatever message it came in."""

    @property
    def dtype(self) -> int:
        """A ``vae.v1.DataType``."""

    @property
    def shape(self) -> Any:
        """A sequence of integers."""

    @property
    def data(self) -> bytes:
        """Little-endian and row-major; only looked at once the shape is right."""


def to_latents(tensor: TensorLike, field: str, latent_shape: tuple[int, ...], max_rows: int) -> Rows:
    """float32 [rows, *latent_shape], all finite."""
    return _to_array(tensor, field, latent_shape, max_rows, (pb.DATA_TYPE_FLOAT32,))


def to_images(message: pb.Images, field: str, spec: ImageSpec, max_rows: int) -> Rows:
    """float32 [rows, C, H, W] in the model's value range, from a tensor or PNG files."""
    form = message.WhichOneof("content")
    if form == "tensor":
        return from_tensor(message.tensor, f"{field}.tensor", spec, max_rows)
    if form == "png":
        files = row_files(message, field, max_rows)
        return from_files(files, field, spec)
    raise InvalidInput(field, "want a tensor or PNG files, came nothing")


def from_tensor(tensor: TensorLike, field: str, spec: ImageSpec, max_rows: int) -> Rows:
    """The same, of a tensor alone."""
    rows = _to_array(tensor, field, spec.shape, max_rows, tuple(_DTYPES))
    if rows.dtype == np.uint8:
        return formats.to_float32(rows, spec.value_range)
    _check_range(rows, f"{field}.data", spec)
    return rows


def rows_said(message: pb.Images, max_rows: int) -> int:
    """How many rows a message says it has, at most as many as it may; whether it has them is to be seen."""
    if message.HasField("png"):
        return min(len(message.png.files), max_rows)
    return rows_of(message.tensor, max_rows)


def rows_of(tensor: TensorLike, max_rows: int) -> int:
    """The same, of a tensor."""
    return min(max(tensor.shape[0], 0), max_rows) if tensor.shape else 0


def row_files(message: pb.Images, field: str, max_rows: int) -> Sequence[bytes]:
    """The PNG files of a message that has them, of a number that may be asked for."""
    files: Sequence[bytes] = message.png.files
    _check_rows(len(files), f"{field}.png.files", max_rows)
    return files


def from_files(files: Sequence[bytes], field: str, spec: ImageSpec, first: int = 0) -> Rows:
    """float32 [rows, C, H, W] of PNG files, of which the first is number ``first`` of a request."""
    try:
        return formats.to_float32(formats.from_png(files, spec.shape, first), spec.value_range)
    except ValueError as exc:
        raise InvalidInput(f"{field}.png.files", str(exc)) from None


def image_format(value: int, spec: ImageSpec) -> int:
    """A known format that these images can be written in."""
    if value not in _IMAGE_FORMATS:
        raise InvalidInput("image_format", f"want one of {', '.join(pb.ImageFormat.keys())}, came {value}")
    if value == pb.IMAGE_FORMAT_PNG and spec.shape[0] not in (1, 3):
        raise InvalidInput(
            "image_format", f"PNG wants images of 1 or 3 channels, this model has {spec.shape[0]}"
        )
    return value


def finite_at_least_zero(value: float, field: str) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise InvalidInput(field, f"want a finite number, not negative, came {value:g}")
    return value


def from_array(rows: NDArray[np.generic]) -> pb.Tensor:
    """A float32 or uint8 array as it is."""
    if rows.dtype == np.uint8:
        return pb.Tensor(dtype=pb.DATA_TYPE_UINT8, shape=rows.shape, data=rows.tobytes())
    return pb.Tensor(
        dtype=pb.DATA_TYPE_FLOAT32, shape=rows.shape, data=rows.astype("<f4", copy=False).tobytes()
    )


def _to_array(
    tensor: TensorLike, field: str, row_shape: tuple[int, ...], max_rows: int, dtypes: Sequence[int]
) -> NDArray[Any]:
    dtype = _DTYPES.get(tensor.dtype) if tensor.dtype in dtypes else None
    if dtype is None:
        wanted = " or ".join(pb.DataType.Name(known) for known in dtypes)
        came = pb.DataType.Name(tensor.dtype) if tensor.dtype in pb.DataType.values() else tensor.dtype
        raise InvalidInput(f"{field}.dtype", f"want {wanted}, came {came}")
    if len(tensor.shape) != 1 + len(row_shape):
        axes = len(tensor.shape)
        shown = f"{tensor.shape[:]}" if axes <= _FEW_AXES else f"{axes} axes"
        raise InvalidInput(f"{field}.shape", f"want {_named(row_shape)}, came {shown}")
    shape = tensor.shape[:]  # a list; several times as fast as iterating over it
    if tuple(shape[1:]) != row_shape:
        raise InvalidInput(f"{field}.shape", f"want {_named(row_shape)}, came {shape}")
    _check_rows(shape[0], f"{field}.shape", max_rows)
    data = tensor.data  # a copy each time it is looked at
    size = math.prod(shape) * dtype.itemsize
    if len(data) != size:
        raise InvalidInput(f"{field}.data", f"want {size} bytes for shape {shape}, came {len(data)}")
    rows = np.frombuffer(data, dtype).reshape(shape)
    if dtype.kind == "f" and not all_finite(rows):
        raise InvalidInput(f"{field}.data", "want finite values, came NaN or infinity")
    return rows


def _named(row_shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, ('rows', *row_shape)))}]"


def _check_rows(rows: int, field: str, max_rows: int) -> None:
    if not 1 <= rows <= max_rows:
        raise InvalidInput(field, f"want 1 to {max_rows} rows, came {rows}")


def _check_range(rows: Rows, field: str, spec: ImageSpec) -> None:
    """Pixels beyond the value range are most often 0 to 255 by mistake; the answer would be trash."""
    low, high = spec.value_range
    least, most = float(rows.min()), float(rows.max())
    slack = 1e-3 * (high - low)
    if least < low - slack or most > high + slack:
        raise InvalidInput(field, f"want values from {low:g} to {high:g}, came {least:g} to {most:g}")
