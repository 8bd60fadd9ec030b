"""``vae.v1.Records`` to cells: the values of each form as Python has them, checked by the schema."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from serving.bundle.tables import (
    CellError,
    Cells,
    Schema,
    TimestampColumn,
    cells_of_columns,
    cells_of_rows,
)
from serving.bundle.tables.coercion import Absent, Unknown
from serving.errors import InvalidInput, plain
from serving.host.background import Background
from serving.pb.vae.v1 import tensors_pb2
from serving.wire.tensors import check_rows

Values = list[object] | NDArray[Any]

_WORK = 100
"""Reading a cell of an object, in steps of arithmetic on a value."""
_UNKNOWN: dict[int, Unknown] = {
    tensors_pb2.UNKNOWN_CATEGORIES_UNSPECIFIED: "refuse",
    tensors_pb2.UNKNOWN_CATEGORIES_REFUSE: "refuse",
    tensors_pb2.UNKNOWN_CATEGORIES_REST: "rest",
}
_ABSENT: dict[int, Absent] = {
    tensors_pb2.ABSENT_COLUMNS_REFUSE: "refuse",
    tensors_pb2.ABSENT_COLUMNS_UNKNOWN: "unknown",
    tensors_pb2.ABSENT_COLUMNS_MISSING: "missing",
}


def rows_said(message: tensors_pb2.Records, max_rows: int) -> int:
    """How many rows there are said to be, at most as many as there may be."""
    return min(len(message.rows) or _rows_of(message.columns), max_rows)


async def read_cells(
    message: tensors_pb2.Records,
    field: str,
    schema: Schema,
    max_rows: int,
    background: Background,
    *,
    otherwise: Absent,
) -> Cells:
    """``otherwise``: what an absent column is, if the message does not say. Raises InvalidInput."""
    if bool(message.rows) == message.HasField("columns"):
        came = "both" if message.rows else "nothing"
        raise InvalidInput(field, f"want rows or columns, at least one row, came {came}")
    unknown = _chosen(message.unknown, _UNKNOWN, tensors_pb2.UnknownCategories, f"{field}.unknown")
    absent = otherwise
    if message.absent != tensors_pb2.ABSENT_COLUMNS_UNSPECIFIED:
        absent = _chosen(message.absent, _ABSENT, tensors_pb2.AbsentColumns, f"{field}.absent")
    if message.HasField("columns"):
        count = _rows_of(message.columns)
        check_rows(count, f"{field}.columns", max_rows)

        def of_columns(_: slice) -> Cells:
            columns = _columns(message.columns, count, schema)
            return cells_of_columns(schema, columns, unknown=unknown, absent=absent)

        work = count * len(message.columns.columns) * _WORK
        (cells,) = await background.pieces(1, work, _telling(of_columns, f"{field}.columns"))
        return cells
    check_rows(len(message.rows), f"{field}.rows", max_rows)

    known = frozenset(column.name for column in schema.columns)

    def of_rows(part: slice) -> Cells:
        rows = [_object(row, part.start + place, known) for place, row in enumerate(message.rows[part])]
        try:
            return cells_of_rows(schema, rows, unknown=unknown, absent=absent)
        except CellError as exc:
            raise _moved(exc, part.start) from None

    work = len(schema.columns) * _WORK
    pieces = await background.pieces(len(message.rows), work, _telling(of_rows, f"{field}.rows"))
    return Cells.joined(pieces)


def kept_values(message: tensors_pb2.Records, field: str, names: frozenset[str]) -> dict[str, list[object]]:
    """Of these columns the values that came, None where none did; columns that no row has are left out.

    Of a message that ``read_cells`` has taken. Raises InvalidInput for numbers that no answer can have.
    """
    if message.HasField("columns"):
        count = _rows_of(message.columns)
        found = {c.name: list(_values(c, count)) for c in message.columns.columns if c.name in names}
    else:
        found = {
            name: [_value(row.fields[name], name, 0) if name in row.fields else None for row in message.rows]
            for name in names
        }
    for name, values in found.items():
        for row, value in enumerate(values):
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidInput(field, str(CellError(name, row, "a finite number", f"{value:g}")))
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def _telling(read: Callable[[slice], Cells], field: str) -> Callable[[slice], Cells]:
    """With what is wrong with a cell as an error of the caller's."""

    def work(part: slice) -> Cells:
        try:
            return read(part)
        except CellError as exc:
            raise InvalidInput(field, plain(str(exc))) from None

    return work


def _chosen(value: int, known: Mapping[int, Any], enum: Any, field: str) -> Any:
    if value not in known:
        raise InvalidInput(field, f"want one of {', '.join(enum.keys())}, came {value}")
    return known[value]


def _moved(exc: CellError, first: int) -> CellError:
    """With the row's number in the request."""
    row = None if exc.row is None else exc.row + first
    return CellError(exc.column, row, exc.wanted, exc.came)


def _object(row: struct_pb2.Struct, number: int, known: frozenset[str]) -> dict[str, object]:
    """Members come in any order, another one each time; of what is wrong the first by name is told."""
    try:
        if known.issuperset(row.fields):
            return {name: _value(value, name, number) for name, value in row.fields.items()}
    except CellError:
        pass
    return {name: _value(row.fields[name], name, number) for name in sorted(row.fields)}


def _value(value: struct_pb2.Value, column: str, row: int) -> object:
    match value.WhichOneof("kind"):
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
        case "list_value":
            raise CellError(column, row, "one value", "a list")
        case "struct_value":
            raise CellError(column, row, "one value", "an object")
        case _:
            raise CellError(column, row, "a value", "an empty one")


def _rows_of(columns: tensors_pb2.Columns) -> int:
    return _length(columns.columns[0]) if columns.columns else 0


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


def _columns(columns: tensors_pb2.Columns, count: int, schema: Schema) -> dict[str, Values]:
    found: dict[str, Values] = {}
    times = {column.name for column in schema.modelled if isinstance(column, TimestampColumn)}
    for column in columns.columns:
        if column.name in found:
            raise CellError(column.name, None, "each column once", "it twice")
        if column.HasField("times") and column.name in schema.place and column.name not in times:
            raise CellError(column.name, None, "values of its type", "times")
        found[column.name] = _values(column, count)
    return found


def _values(column: tensors_pb2.Column, count: int) -> Values:
    """One a row; None where missing."""
    values = _packed(column)
    if len(values) != count:
        raise CellError(column.name, None, f"{count} values, as in the first column", str(len(values)))
    if not column.missing:
        return values
    if len(column.missing) != count:
        raise CellError(column.name, None, f"{count} of missing, one a row", str(len(column.missing)))
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return np.where(np.array(column.missing), np.datetime64("NaT"), values)
    listed = values if isinstance(values, list) else values.tolist()
    return [None if gone else value for value, gone in zip(listed, column.missing, strict=True)]


def _packed(column: tensors_pb2.Column) -> Values:
    match column.WhichOneof("values"):
        case "numbers":
            return _fixed(column.numbers, len(column.numbers.values), "<f8")
        case "booleans":
            return list(column.booleans.values)
        case "times":
            micro = _fixed(column.times, len(column.times.microseconds), "<i8")
            return micro.astype("datetime64[us]")
        case "texts":
            return _texts(column)
        case _:
            raise CellError(column.name, None, "numbers, texts, booleans or times", "nothing")


def _fixed(message: Any, count: int, dtype: str) -> NDArray[Any]:
    """The one field of a message, numbers of a fixed width: its bytes end with them as they are in memory."""
    packed: bytes = message.SerializeToString()
    size = np.dtype(dtype).itemsize * count
    return np.frombuffer(packed[len(packed) - size :], dtype)


def _texts(column: tensors_pb2.Column) -> list[object]:
    dictionary: list[object] = list(column.texts.dictionary)
    codes = np.array(column.texts.codes, np.int64)
    bad = (codes < 0) | (codes >= len(dictionary))
    if column.missing and len(column.missing) == len(codes):
        codes[np.array(column.missing)] = 0
        bad &= ~np.array(column.missing)
        dictionary = dictionary or [""]
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        wanted = f"a code from 0 to {len(dictionary) - 1}, the last of the dictionary"
        raise CellError(column.name, row, wanted, str(column.texts.codes[row]))
    return [dictionary[code] for code in codes.tolist()]
