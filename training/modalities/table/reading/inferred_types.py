"""What was made of a table's columns, in lines for people."""

import numpy as np

from serving.bundle import plain
from serving.bundle.tables import (
    MISSING,
    OBSERVED,
    BooleanColumn,
    CategoryColumn,
    Cells,
    Column,
    ConstantColumn,
    DerivedColumn,
    IdentifierColumn,
    Number,
    NumericColumn,
    Schema,
    TimestampColumn,
    column_values,
)
from serving.bundle.tables.written.timestamps import to_texts
from training.modalities.table.reading.table_data import TableData

_MOST_LINES = 60


def describe(table: TableData) -> list[str]:
    """A line for each column, of long tables for the first ones; then what else is to be said."""
    schema = table.schema
    names = [column.name for column in schema.columns]
    shown = schema.columns[:_MOST_LINES]
    ignored = [name for name, words in table.words.items() if name not in set(names)][:_MOST_LINES]
    width = min(max(len(name) for name in (*(c.name for c in shown), *ignored)), 30)
    lines = [
        f"{table.name}: {len(table.cells)} rows, {len(schema.modelled)} columns for the model",
        *table.notes,
    ]
    for column in shown:
        words = table.words.get(column.name, "")
        parts = [_facts(column, table.cells, schema), _missing(column, table.cells, schema), words]
        line = "; ".join(part for part in parts if part)
        label = " (label)" if column.name == schema.label else ""
        lines.append(plain(f"  {column.name:{width}.30}  {_kind(column):10}  {line}{label}", 160))
    lines += [plain(f"  {name:{width}.30}  {'-':10}  {table.words[name]}", 160) for name in ignored]
    if len(schema.columns) > _MOST_LINES:
        lines.append(f"  … and {len(schema.columns) - _MOST_LINES} columns more")
    for low, high in schema.orders:
        lines.append(plain(f"  in every row {low} <= {high}: so it is in every record", 160))
    return lines


def _kind(column: Column) -> str:
    if isinstance(column, NumericColumn):
        return "integer" if column.integer else "numeric"
    return column.type


def _facts(column: Column, cells: Cells, schema: Schema) -> str:
    if isinstance(column, ConstantColumn):
        return f"always {column.value!r}"
    if isinstance(column, DerivedColumn):
        return f"follows from {column.of}"
    if isinstance(column, IdentifierColumn):
        new = column.model_copy(update={"name": "new"})
        first = column_values(Schema(columns=(new, _ANY)), Cells.unknown(1, 1))["new"][0]
        return f"left out; records have new ones, as {first}"
    if isinstance(column, BooleanColumn):
        return f"{column.words[0]} or {column.words[1]}"
    if isinstance(column, CategoryColumn):
        few = ", ".join(column.categories[:3])
        rest = ", the last for the rest" if column.rest else ""
        return f"{len(column.categories)} kinds{rest} ({few}{', …' if len(column.categories) > 3 else ''})"
    return _range(column, cells, schema)


def _range(column: Number, cells: Cells, schema: Schema) -> str:
    place = schema.place[column.name]
    told = cells.values[cells.states[:, place] == OBSERVED, place]
    if not len(told):
        return ""
    low, high = float(told.min()), float(told.max())
    if isinstance(column, TimestampColumn):
        return " to ".join(to_texts(column, np.array([low, high])))
    decimals = f", {column.decimals} decimals" if column.decimals else ""
    return f"{low:.10g} to {high:.10g}{decimals}"


_ANY = BooleanColumn(name="any", nullable=False)


def _missing(column: Column, cells: Cells, schema: Schema) -> str:
    if column.name not in schema.place:
        return ""
    share = (cells.states[:, schema.place[column.name]] == MISSING).mean()
    return f"{share:.1%} missing" if share else ""
