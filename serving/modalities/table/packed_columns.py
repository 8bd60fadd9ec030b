"""``vae.v1.Columns`` to cells: numbers as they are in memory, texts a word of the dictionary at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import CellError, Cells, Schema, TimestampColumn, cells_of_columns
from serving.bundle.tables.coercion import Absent, Unknown, cells_of_column
from serving.pb.vae.v1 import tensors_pb2

Values = list[object] | NDArray[Any]


@dataclass(frozen=True)
class _Coded:
    """Texts by dictionary."""

    words: list[str]
    codes: NDArray[np.intp]
    """The place of each row's word; -1 where it is missing."""

    def listed(self) -> list[object]:
        return [None if code < 0 else self.words[code] for code in self.codes.tolist()]


def rows_in(columns: tensors_pb2.Columns) -> int:
    """As the first column has it."""
    return _length(columns.columns[0]) if columns.columns else 0


def cells_of_packed(columns: tensors_pb2.Columns, schema: Schema, unknown: Unknown, absent: Absent) -> Cells:
    """Raises CellError."""
    found = _columns(columns, schema)
    for name in _compared(schema, found):
        values = found[name]
        found[name] = values.listed() if isinstance(values, _Coded) else values
    coded = {n: values for n, values in found.items() if isinstance(values, _Coded) and n in schema.place}
    try:
        nulls: dict[str, Values] = {name: [None] * len(values.codes) for name, values in coded.items()}
        cells = cells_of_columns(schema, _plain(found) | nulls, unknown=unknown, absent=absent)
        for name, values in coded.items():
            place, told = schema.place[name], values.codes >= 0
            column = schema.modelled[place]
            words, states = cells_of_column(column, values.words, unknown=unknown, absent="unknown")
            cells.values[told, place] = words[values.codes[told]]
            cells.states[told, place] = states[values.codes[told]]
    except CellError:  # of a word, which stands for many rows or for none
        listed: dict[str, Values] = {name: values.listed() for name, values in coded.items()}
        return cells_of_columns(schema, _plain(found) | listed, unknown=unknown, absent=absent)
    return cells


def _compared(schema: Schema, found: Mapping[str, object]) -> set[str]:
    """Columns that must agree row by row: derived ones that came, and what they follow from."""
    derived = [column for column in schema.derived if column.name in found]
    return {column.name for column in derived} | {column.of for column in derived} & found.keys()


def _plain(found: dict[str, Values | _Coded]) -> dict[str, Values]:
    """Texts of columns that are not looked at are as many as there are rows, and no more."""
    return {n: list(v.codes) if isinstance(v, _Coded) else v for n, v in found.items()}


def values_of(column: tensors_pb2.Column, count: int) -> list[object]:
    """One a row; None where missing. Raises CellError."""
    values = _values(column, count)
    return values.listed() if isinstance(values, _Coded) else list(values)


def _length(column: tensors_pb2.Column) -> int:
    match column.WhichOneof("values"):
        case "numbers":
            return len(column.numbers.values)
        case "texts":
            return len(column.texts.codes)
        case "booleans":
            return len(column.booleans.values)
        case "times":
            return len(column.times.microseconds)
        case _:
            return 0


def _columns(columns: tensors_pb2.Columns, schema: Schema) -> dict[str, Values | _Coded]:
    found: dict[str, Values | _Coded] = {}
    count = rows_in(columns)
    times = {column.name for column in schema.modelled if isinstance(column, TimestampColumn)}
    for column in columns.columns:
        if column.name in found:
            raise CellError(column.name, None, "each column once", "it twice")
        if column.HasField("times") and column.name in schema.place and column.name not in times:
            raise CellError(column.name, None, "values of its type", "times")
        found[column.name] = _values(column, count)
    return found


def _values(column: tensors_pb2.Column, count: int) -> Values | _Coded:
    if (came := _length(column)) != count and column.WhichOneof("values"):
        raise CellError(column.name, None, f"{count} values, as in the first column", str(came))
    if column.missing and len(column.missing) != count:
        raise CellError(column.name, None, f"{count} of missing, one a row", str(len(column.missing)))
    missing = np.array(column.missing, np.bool_) if column.missing else np.zeros(count, np.bool_)
    match column.WhichOneof("values"):
        case "texts":
            return _coded(column, missing)
        case "times":
            micro = _fixed(column.times, count, "<i8").astype("datetime64[us]")
            return np.where(missing, np.datetime64("NaT"), micro)
        case "numbers":
            numbers = _fixed(column.numbers, count, "<f8")
            return _with_nulls(numbers.tolist(), missing) if missing.any() else numbers
        case "booleans":
            return _with_nulls(list(column.booleans.values), missing)
        case _:
            raise CellError(column.name, None, "numbers, texts, booleans or times", "nothing")


def _with_nulls(values: list[object], missing: NDArray[np.bool_]) -> list[object]:
    return [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]


def _fixed(message: Any, count: int, dtype: str) -> NDArray[Any]:
    """The last field of a message, numbers of a fixed width: its bytes end with them, as memory has them."""
    message.DiscardUnknownFields()
    packed: bytes = message.SerializeToString()
    size = np.dtype(dtype).itemsize * count
    return np.frombuffer(packed[len(packed) - size :], dtype)


def _coded(column: tensors_pb2.Column, missing: NDArray[np.bool_]) -> _Coded:
    words = list(column.texts.dictionary)
    codes = _fixed(column.texts, len(missing), "<i4").astype(np.intp)
    bad = ((codes < 0) | (codes >= len(words))) & ~missing
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        wanted = f"a code from 0 to {len(words) - 1}, the last of the dictionary"
        raise CellError(column.name, row, wanted, str(codes[row]))
    return _Coded(words, np.where(missing, -1, codes))
