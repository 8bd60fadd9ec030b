"""``vae.v1.Records`` to cells: the values of each form as Python has them, checked by the schema."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import struct_pb2

from serving.bundle.tables import CellError, Cells, Schema, cells_of_rows
from serving.bundle.tables.coercion import Absent, Unknown
from serving.errors import InvalidInput, plain
from serving.host.background import Background
from serving.modalities.table import packed_columns
from serving.pb.vae.v1 import tensors_pb2
from serving.wire.tensors import check_rows

_WORK, _PACKED_WORK = 100, 10
"""Reading a cell of an object, and of a packed column, in steps of arithmetic on a value."""
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
    return min(len(message.rows) or packed_columns.rows_in(message.columns), max_rows)


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
        count = packed_columns.rows_in(message.columns)
        check_rows(count, f"{field}.columns", max_rows)

        def of_columns(_: slice) -> Cells:
            return packed_columns.cells_of_packed(message.columns, schema, unknown, absent)

        work = count * len(message.columns.columns) * _PACKED_WORK
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
        count = packed_columns.rows_in(message.columns)
        found = {
            column.name: packed_columns.values_of(column, count)
            for column in message.columns.columns
            if column.name in names
        }
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
