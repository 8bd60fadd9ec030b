"""One column of what a caller has, as a message. n is the number of rows."""

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from serving.errors import quoted
from serving.pb.vae.v1 import tensors_pb2 as pb

Kind = Literal["numbers", "texts", "booleans", "times", "mixed"]

_EXACT = 2**53
"""Whole numbers up to here are doubles; larger ones, which only identifiers have, go as text."""
_TAKEN = "a number, text, boolean or time"
ABSENT: Final = object()
"""In place of a value in a row that does not have the column."""


@dataclass(frozen=True, eq=False)
class PackedColumn:
    """The values of a column, of one kind."""

    name: str
    kind: Kind
    values: NDArray[Any]
    """[n] float64; int32 places in ``dictionary``; bool; int64 microseconds since 1970; or, of values of
    several kinds, objects as JSON has them: such a column cannot be packed, nor can those beside it."""
    missing: NDArray[np.bool_]
    """[n], where there is no value."""
    dictionary: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def listed(self, rows: slice) -> list[Any]:
        """These rows of it, as JSON has values; None for those that are missing."""
        values = self.values[rows]
        if self.kind == "times":
            listed = np.datetime_as_string(values.astype("datetime64[us]")).tolist()
        elif self.kind == "texts":
            listed = [self.dictionary[place] for place in values.tolist()]
        else:
            listed = values.tolist()
        return [None if gone else v for v, gone in zip(listed, self.missing[rows].tolist(), strict=True)]

    def message(self, rows: slice) -> pb.Column:
        """These rows of it, packed."""
        values, missing = self.values[rows], self.missing[rows]
        found = pb.Column(name=self.name, missing=missing.tolist() if missing.any() else None)
        match self.kind:
            case "numbers":
                found.numbers.values.extend(values.tolist())
            case "booleans":
                found.booleans.values.extend(values.tolist())
            case "times":
                found.times.microseconds.extend(values.tolist())
            case "texts":
                used, codes = np.unique(values, return_inverse=True)
                found.texts.dictionary.extend(self.dictionary[place] for place in used.tolist())
                found.texts.codes.extend(codes.tolist())
        return found

    @classmethod
    def of_texts(cls, name: str, codes: NDArray[Any], dictionary: Sequence[str]) -> Self:
        """Of places in the dictionary, -1 where there is no value. Raises ValueError."""
        missing = codes < 0
        for place, text in enumerate(dictionary):
            if not is_encodable(text):
                row = int(np.flatnonzero(codes == place)[0])
                raise ValueError(f"column {quoted(name)}, row {row}: want text, came {quoted(text)}")
        return cls(name, "texts", np.where(missing, 0, codes).astype(np.int32), missing, (*dictionary, ""))


def packed(name: str, values: Sequence[Any] | NDArray[Any], *, zoned: bool = False) -> PackedColumn:
    """A column of a list, or of an array of one axis, masked or not.

    None, NaN, NaT and pandas' NA are cells without a value. ``zoned``: the times of an array are in UTC and
    not by some clock on the wall.

    Raises:
        ValueError: naming the column, and the row where one is at fault.
    """
    if not isinstance(values, np.ndarray):
        return _of_list(name, values)
    if values.ndim != 1:
        raise ValueError(f"column {quoted(name)}: want values [rows], came an array {list(values.shape)}")
    gone = (
        np.ma.getmaskarray(values)
        if isinstance(values, np.ma.MaskedArray)
        else np.zeros(len(values), np.bool_)
    )
    values = np.ma.getdata(values)
    kind = values.dtype.kind
    if kind in "iu":
        return _of_integers(name, values, gone)
    if kind == "f":
        missing = np.isnan(values) | gone
        return PackedColumn(name, "numbers", np.where(missing, 0, values).astype(np.float64), missing)
    if kind == "b":
        return PackedColumn(name, "booleans", values & ~gone, gone)
    if kind == "M":
        return _of_times(name, values, gone, zoned)
    if kind in "OUT":
        listed = values.tolist()
        return _of_list(name, [None if g else v for v, g in zip(listed, gone.tolist(), strict=True)])
    raise ValueError(f"column {quoted(name)}: want {_TAKEN}, came {values.dtype}")


def _of_integers(name: str, values: NDArray[Any], missing: NDArray[np.bool_]) -> PackedColumn:
    if len(values) and (int(values.max()) > _EXACT or int(values.min()) < -_EXACT):
        return _of_list(name, [None if m else str(v) for v, m in zip(values.tolist(), missing, strict=True)])
    return PackedColumn(name, "numbers", np.where(missing, 0, values).astype(np.float64), missing)


def _of_times(name: str, values: NDArray[Any], gone: NDArray[np.bool_], zoned: bool) -> PackedColumn:
    missing = np.isnat(values) | gone
    known = np.where(missing, np.datetime64(0, "s"), values)
    years = known.astype("datetime64[Y]").astype(np.int64) + 1970
    outside = (years < 1) | (years > 9999)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"column {quoted(name)}, row {row}: want a time of the years 1 to 9999, came {known[row]}"
        )
    micro = known.astype("datetime64[us]")
    if not zoned:
        return PackedColumn(name, "times", micro.astype(np.int64), missing)
    moments, codes = np.unique(micro, return_inverse=True)  # as text, which says that there is a zone
    texts = [f"{text}Z" for text in np.datetime_as_string(moments).tolist()]
    return PackedColumn.of_texts(name, np.where(missing, -1, codes), texts)


def is_missing(value: object) -> bool:
    """Whether it stands for no value: None, NaN, NaT, or the NA of pandas, which need not be installed."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating | Decimal) and math.isnan(value)


def _of_list(name: str, values: Sequence[Any]) -> PackedColumn:
    kinds = set(map(type, values)) - {NoneType}
    if kinds <= {str}:
        return _of_texts(name, values)
    if kinds <= {int, float} and (quick := _of_numbers(name, values)):
        return quick
    missing = np.array([is_missing(value) for value in values], np.bool_)
    where = np.flatnonzero(~missing)
    known = [_as_json(name, row, values[row]) for row in where.tolist()]
    kinds = set(map(type, known))
    if kinds <= {str}:
        return _of_texts(name, _spread(known, where, missing, np.object_, None).tolist())
    if kinds == {bool}:
        return PackedColumn(name, "booleans", _spread(known, where, missing, np.bool_), missing)
    if kinds <= {int, float}:
        return PackedColumn(name, "numbers", _spread(known, where, missing, np.float64), missing)
    return PackedColumn(name, "mixed", _spread(known, where, missing, np.object_), missing)


def _of_texts(name: str, values: Sequence[str | None]) -> PackedColumn:
    places: dict[str | None, int] = {text: place for place, text in enumerate(dict.fromkeys(values))}
    texts = [text or "" for text in places]
    if None in places:
        places[None] = -1
    codes = np.fromiter(map(places.__getitem__, values), np.int64, len(values))
    return PackedColumn.of_texts(name, codes, texts)


def _of_numbers(name: str, values: Sequence[float | None]) -> PackedColumn | None:
    """None if doubles do not hold them all."""
    try:
        numbers = np.array(values, np.float64)  # None is NaN
    except OverflowError:
        return None
    missing = np.isnan(numbers)
    known = np.where(missing, 0.0, numbers)
    is_exact = (np.abs(known) <= _EXACT) | np.isinf(known)
    return PackedColumn(name, "numbers", known, missing) if is_exact.all() else None


def _spread(
    known: list[Any], where: NDArray[Any], missing: NDArray[np.bool_], dtype: Any, nothing: object = 0
) -> NDArray[Any]:
    found = np.full(len(missing), nothing, dtype)
    found[where] = known
    return found


def _as_json(name: str, row: int, value: Any) -> Any:
    """A value as JSON has it; times as text, with a zone if they have one. Raises ValueError."""
    if isinstance(value, np.datetime64):  # of nanoseconds numpy would give a plain number
        value = value.astype("datetime64[us]")
    if isinstance(value, np.generic):
        value = value.item()
    if value is ABSENT or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, str):
        if not is_encodable(value):
            raise ValueError(f"column {quoted(name)}, row {row}: want text, came {quoted(value)}")
        return value
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, numbers.Real | Decimal):
        return float(value)
    raise ValueError(f"column {quoted(name)}, row {row}: want {_TAKEN}, came {type(value).__name__}")


def is_encodable(text: str) -> bool:
    """Whether it is free of lone surrogates, the halves of letters that UTF-8 does not have."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
