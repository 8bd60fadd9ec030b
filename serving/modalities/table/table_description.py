"""What GetModel says of a table: its columns, and what may be in them."""

import json

from google.protobuf import json_format

from serving.bundle.tables import (
    BooleanColumn,
    CategoryColumn,
    Column,
    ConstantColumn,
    DerivedColumn,
    IdentifierColumn,
    NumericColumn,
    Schema,
    TimestampColumn,
)
from serving.pb.vae.v1 import models_pb2

_MOST_CATEGORIES = 1000
"""Of a column: a list of all models fits a message."""


def table_of(schema: Schema) -> models_pb2.Table:
    return models_pb2.Table(
        columns=[_column(column, schema) for column in schema.columns],
        label=schema.label or "",
        orders=[models_pb2.ColumnOrder(least=low, most=high) for low, high in schema.orders],
    )


def _column(column: Column, schema: Schema) -> models_pb2.TableColumn:
    found = models_pb2.TableColumn(name=column.name, type=column.type)
    if isinstance(column, ConstantColumn):
        json_format.Parse(json.dumps(column.value), found.constant)
        return found
    if isinstance(column, IdentifierColumn):
        found.made_anew = True
        return found
    if isinstance(column, DerivedColumn):
        source = schema.modelled[schema.place[column.of]]
        values = (*column.values, column.missing) if source.nullable else column.values
        found.nullable = None in values
        numbers = [value for value in values if isinstance(value, int | float)]
        if column.kind == "numeric" and numbers:
            found.integer = not any(isinstance(value, float) for value in numbers)
            found.least, found.most = min(numbers), max(numbers)
        return found
    found.nullable = column.nullable
    if isinstance(column, CategoryColumn):
        found.categories.extend(column.categories[:_MOST_CATEGORIES])
        found.category_count = len(column.categories)
        found.has_rest = column.rest
    elif not isinstance(column, BooleanColumn):
        found.least, found.most = column.bounds
    if isinstance(column, NumericColumn):
        found.integer = column.integer
    if isinstance(column, TimestampColumn):
        found.resolution = column.resolution
        found.has_zone = column.zone == "utc"
    return found
