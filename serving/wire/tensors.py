"""Wire messages to numpy rows and back; every check of what a caller sends is here.

Nothing is queued before it passed: one bad request never harms its neighbours.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput
from serving.finite import all_finite
from serving.pb.vae.v1 import tensors_pb2 as pb

Rows = NDArray[np.float32]

_DTYPES: dict[int, np.dtype[np.generic]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
}
_FEW_AXES = 8
"""Of a shape that is said back."""


def row_count(count: int, max_rows: int, field: str = "count") -> int:
    """A number of rows that may be asked for."""
    check_rows(count, field, max_rows)
    return count


def check_rows(rows: int, field: str, max_rows: int) -> None:
    if not 1 <= rows <= max_rows:
        raise InvalidInput(field, f"want 1 to {max_rows} rows, came {rows}")


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
    return to_array(tensor, field, latent_shape, max_rows, (pb.DATA_TYPE_FLOAT32,))


def rows_of(tensor: TensorLike, max_rows: int) -> int:
    """The same, of a tensor."""
    return min(max(tensor.shape[0], 0), max_rows) if tensor.shape else 0


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


def to_array(
    tensor: TensorLike, field: str, row_shape: tuple[int, ...], max_rows: int, dtypes: Sequence[int]
) -> NDArray[Any]:
    """[rows, *row_shape] of one of these ``vae.v1.DataType``, all finite."""
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
    check_rows(shape[0], f"{field}.shape", max_rows)
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
