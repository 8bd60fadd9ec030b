"""The parameters of a ModelInfer: numbers and names that steer it."""

import json
import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

from serving.errors import InvalidInput, quoted
from serving.oip.parts import Part

T = TypeVar("T")

_EVERYWHERE = frozenset({"binary_data_output", "triton_enable_empty_final_response"})
"""What clients send along to any model; the latter comes with every request of Triton's C++ client."""
_SEED_BITS = 64
_A_NUMBER = re.compile(r"[-+]?[0-9]{1,20}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?", re.ASCII)
_LARGEST = 3.4e38
"""Of a latent, which is float32."""


def check_parameters(request: Any, part: Part) -> None:
    """Raises InvalidInput for parameters that would be left unheeded."""
    unknown = set(request.parameters) - set(part.parameters) - _EVERYWHERE
    if unknown:
        known = ", ".join(part.parameters) or "none"
        raise InvalidInput("parameters", f"want some of {known}, came {quoted(min(unknown))}")


def integer(request: Any, name: str, *, bits: int = 63) -> int | None:
    """From 0 on; also where it came as a text, as JSON's numbers are too coarse for some clients."""

    def read(kind: str, value: Any) -> int:
        if kind == "string_param" and len(value) <= _SEED_BITS and value.isascii() and value.isdigit():
            value, kind = int(value), "uint64_param"
        if kind not in ("int64_param", "uint64_param") or not 0 <= value < 1 << bits:
            raise InvalidInput(
                f"parameters[{name}]", f"want an integer from 0 to 2^{bits} - 1, came {quoted(value)}"
            )
        return int(value)

    return _read(request, name, read)


def number(request: Any, name: str) -> float | None:
    """A finite one."""

    def read(kind: str, value: Any) -> float:
        if kind == "string_param" and _A_NUMBER.fullmatch(value):  # Triton's C++ client sends no others
            value, kind = float(value), "double_param"
        if kind not in ("double_param", "int64_param", "uint64_param") or not math.isfinite(value):
            raise InvalidInput(f"parameters[{name}]", f"want a finite number, came {quoted(value)}")
        return float(value)

    return _read(request, name, read)


def text(request: Any, name: str) -> str | None:
    def read(kind: str, value: Any) -> str:
        if kind != "string_param":
            raise InvalidInput(f"parameters[{name}]", f"want a string, came {quoted(value)}")
        return str(value)

    return _read(request, name, read)


def numbers(request: Any, name: str, count: int) -> list[float] | None:
    """A JSON array of so many numbers, flat."""
    raw = text(request, name)
    if raw is None:
        return None
    wanted = InvalidInput(f"parameters[{name}]", f"want a JSON array of {count} numbers, came {quoted(raw)}")
    try:
        found = json.loads(raw, parse_int=float)  # an integer of any length
    except (ValueError, RecursionError):
        raise wanted from None
    if not isinstance(found, list) or len(found) != count:
        raise wanted
    if not all(isinstance(value, float) and abs(value) <= _LARGEST for value in found):
        raise wanted
    return found


def _read(request: Any, name: str, read: Callable[[str, Any], T]) -> T | None:
    if name not in request.parameters:
        return None
    parameter = request.parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    if kind is None:
        raise InvalidInput(f"parameters[{name}]", "want a value, came none")
    return read(kind, getattr(parameter, kind))
