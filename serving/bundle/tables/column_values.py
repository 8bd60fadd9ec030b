"""Cells as the values that users see: all columns of the table, also those that the model does not know."""

import uuid
from typing import Final

import numpy as np

from serving.bundle.tables.apart.apart_kinds import ConstantColumn, DerivedColumn, IdentifierColumn
from serving.bundle.tables.apart.derived_cells import looked_up
from serving.bundle.tables.cells import OBSERVED, Cells, Doubles
from serving.bundle.tables.column_kinds import BooleanColumn, CategoryColumn, Modelled, NumericColumn
from serving.bundle.tables.table_schema import Schema
from serving.bundle.tables.written.timestamps import to_texts

_NAMESPACE: Final = uuid.UUID("6f3c4d0e-6a3b-5a53-9d0e-2f1f0b7a7c11")


def column_values(schema: Schema, cells: Cells, *, first_row: int = 0) -> dict[str, list[object]]:
    """The columns in the order of the table, each a list of n values.

    int of integer columns, float of other numbers, str of categories, bool, ISO 8601 text of times; None
    where a cell is missing or unknown. Identifiers are new ones: row ``first_row`` + i always has the same.
    Derived columns are looked up in what they follow from.
    """
    found: dict[str, list[object]] = {}
    for column in schema.columns:
        if isinstance(column, ConstantColumn):
            found[column.name] = [column.value] * len(cells)
        elif isinstance(column, IdentifierColumn):
            found[column.name] = [_identifier(column, first_row + row) for row in range(len(cells))]
        elif isinstance(column, DerivedColumn):
            found[column.name] = looked_up(schema, column, cells)
        else:
            place = schema.place[column.name]
            values = _values(column, cells.values[:, place])
            told = (cells.states[:, place] == OBSERVED).tolist()
            found[column.name] = [v if t else None for v, t in zip(values, told, strict=True)]
    return found


def _values(column: Modelled, values: Doubles) -> list[object]:
    if isinstance(column, CategoryColumn):
        return [column.categories[index] for index in values.astype(np.intp).tolist()]
    if isinstance(column, BooleanColumn):
        return list((values > 0).tolist())
    if isinstance(column, NumericColumn):
        return list((values.astype(np.int64) if column.integer else values).tolist())
    return list(to_texts(column, values))


def _identifier(column: IdentifierColumn, row: int) -> object:
    number = column.start + column.step * row
    if column.kind == "integer":
        return number
    if column.kind == "text":
        return f"{column.prefix}{number:0{column.digits}d}"
    return str(uuid.uuid5(_NAMESPACE, f"{column.name}/{row}"))
