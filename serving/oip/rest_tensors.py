"""Tensors as JSON has them, and as they are in memory.

Source: open-inference-protocol, specification/protocol/inference_rest.md (Tensor Data): arrays nested as the
shape, or flat, row-major. Answers are flat, as Triton's are.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.errors import InvalidInput, quoted
from serving.oip.rest_json import kind_of

Values = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}
_KINDS = {"FP32": frozenset({int, float}), "INT64": frozenset({int})}
_NAMES = {"FP32": "numbers", "INT64": "integers"}
_FEW_AXES = 8
"""Of a shape that is said back."""


def from_json(data: Any, shape: Sequence[int], datatype: str, field: str) -> Values:
    """One axis, little-endian. Raises InvalidInput.

    What is beyond float32 becomes infinite, which is refused where the values of all doors are checked.
    """
    if datatype not in DTYPES:
        raise InvalidInput(f"{field}.datatype", f"want FP32 or INT64, came {quoted(datatype)}")
    values = _flat(data, shape, f"{field}.data")
    if others := set(map(type, values)) - _KINDS[datatype]:
        came = next(value for value in values if type(value) in others)
        said = quoted(came) if isinstance(came, float) else kind_of(came)
        raise InvalidInput(f"{field}.data", f"want {_NAMES[datatype]}, came {said}")
    try:
        with np.errstate(over="ignore"):
            return np.array(values, DTYPES[datatype])
    except OverflowError:
        raise InvalidInput(f"{field}.data", "want integers of 64 bits, came one beyond") from None


def to_json(values: Values) -> bytes:
    """Numbers with commas between. A float32 is printed with the fewest digits that are read back as it.

    NaN and infinity, which JSON does not have, would be null; no model's answer has any.
    """
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _flat(data: Any, shape: Sequence[int], field: str) -> list[Any]:
    """Row-major. Every step is a loop in C."""
    if not isinstance(data, list):
        raise InvalidInput(field, f"want an array, came {kind_of(data)}")
    if not data or not isinstance(data[0], list):
        if len(data) != (count := math.prod(shape)):
            raise InvalidInput(field, f"want {count} values for shape {_said(shape)}, came {len(data)}")
        return data
    level = [data]
    for axis in shape:
        if not set(map(type, level)) <= {list} or not set(map(len, level)) <= {axis}:
            raise InvalidInput(field, f"want arrays nested as shape {_said(shape)}, or a flat one")
        level = list(chain.from_iterable(level))
    return level


def _said(shape: Sequence[int]) -> str:
    return str(list(shape)) if len(shape) <= _FEW_AXES else f"of {len(shape)} axes"
