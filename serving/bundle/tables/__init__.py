"""Tables: their columns, how cells enter the graphs of a model and how records are drawn from what comes out.

Both sides import this package: training reads a table into its cells and fits p(x|z) to them, a server
draws from the same p(x|z). numpy and pydantic alone.
"""

from serving.bundle.tables.apart.apart_kinds import Column, ConstantColumn, DerivedColumn, IdentifierColumn
from serving.bundle.tables.apart.derived_cells import NOT_TOLD, Lookup, Told, settle
from serving.bundle.tables.cells import MISSING, OBSERVED, UNKNOWN, CellError, Cells
from serving.bundle.tables.coercion import cells_of_columns, cells_of_rows
from serving.bundle.tables.column_kinds import (
    MOST_COLUMNS,
    REST,
    Bins,
    BooleanColumn,
    CategoryColumn,
    Density,
    Modelled,
    Number,
    NumericColumn,
    Scale,
    TimestampColumn,
)
from serving.bundle.tables.column_values import column_values
from serving.bundle.tables.drawing import draw, impute, log_prob, most_likely
from serving.bundle.tables.gaussian_columns import LARGEST_LOG_SIGMA, Gaussian
from serving.bundle.tables.normal_scores import LARGEST_SCORE
from serving.bundle.tables.numeric_columns import TAIL_RATE, Histogram
from serving.bundle.tables.table_features import to_features
from serving.bundle.tables.table_schema import MOST_PARAMETERS, SCHEMA, Schema
from serving.bundle.tables.written.value_text import MISSING_TEXTS, text_of

__all__ = [
    "LARGEST_LOG_SIGMA",
    "LARGEST_SCORE",
    "MISSING",
    "MISSING_TEXTS",
    "MOST_COLUMNS",
    "MOST_PARAMETERS",
    "NOT_TOLD",
    "OBSERVED",
    "REST",
    "SCHEMA",
    "TAIL_RATE",
    "UNKNOWN",
    "Bins",
    "BooleanColumn",
    "CategoryColumn",
    "CellError",
    "Cells",
    "Column",
    "ConstantColumn",
    "Density",
    "DerivedColumn",
    "Gaussian",
    "Histogram",
    "IdentifierColumn",
    "Lookup",
    "Modelled",
    "Number",
    "NumericColumn",
    "Scale",
    "Schema",
    "TimestampColumn",
    "Told",
    "cells_of_columns",
    "cells_of_rows",
    "column_values",
    "draw",
    "impute",
    "log_prob",
    "most_likely",
    "settle",
    "text_of",
    "to_features",
]
