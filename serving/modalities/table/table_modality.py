"""Tables, as their graphs have them. C is the number of modelled columns, P that of parameters of p(x|z)."""

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Bundle
from serving.bundle.tables import (
    SCHEMA,
    BooleanColumn,
    CategoryColumn,
    Column,
    ConstantColumn,
    DerivedColumn,
    IdentifierColumn,
    Number,
    Schema,
)
from serving.modalities.modality import Rows, RowTensor

_MOST_BYTES = 8 << 20
"""Of all records of a message. They are parsed in one go, some 30 ms for so many."""
_ENTRY_BYTES = 12
"""Of a cell beside its name and its value: lengths and tags, or quotes, colons and commas."""
_NUMBER_BYTES, _WORD_BYTES, _LONG_BYTES = 24, 5, 40
"""Of a number as text; of true and false; of a time or an identifier."""
_EXAMPLE_SPREAD = 2.0


class TableModality:
    """See ``Modality``."""

    name = "table"
    byte_form = None
    most_bytes = _MOST_BYTES

    def __init__(self, bundle: Bundle) -> None:
        self.schema = Schema.parse(bundle.content(SCHEMA))
        self.columns = tuple(column.name for column in self.schema.modelled)
        self.takes = RowTensor("features", (self.schema.features,))
        self.gives = RowTensor("parameters", (self.schema.parameters,))
        self.values = len(self.columns)
        self.cells = len(self.schema.columns)
        self.identifiers = frozenset(c.name for c in self.schema.columns if isinstance(c, IdentifierColumn))
        self.apart_from, self.apart = _apart(self.schema)
        self.row_bytes = sum(map(_cell_bytes, self.schema.columns))

    def examples(self, rng: np.random.Generator, rows: int) -> Rows:
        """Codes, scores and states of all that they may be, in no relation to each other."""
        count = len(self.columns)
        codes = np.stack([rng.integers(0, c.codes, rows) for c in self.schema.modelled], axis=1)
        scores = rng.normal(0.0, _EXAMPLE_SPREAD, (rows, count))
        numbers = [isinstance(column, Number) for column in self.schema.modelled]
        nullable = np.array([column.nullable for column in self.schema.modelled])
        states = rng.choice([1, 1, 0, -1], (rows, count))
        states[(states < 0) & ~nullable] = 0
        observed: NDArray[np.bool_] = states == 1
        features = np.concatenate([codes * observed, scores * observed * numbers, states], axis=1)
        return features.astype(np.float32)


def _apart(schema: Schema) -> tuple[list[int], Schema | None]:
    """The columns that the model does not know behind those that they follow from, or else its first one.

    With the places of those among all that it knows; None if it knows all.
    """
    unmodelled = tuple(column for column in schema.columns if column.name not in schema.place)
    places = sorted({schema.place[column.of] for column in schema.derived}) or [0]
    known = tuple(schema.modelled[place] for place in places)
    return places, Schema(columns=(*known, *unmodelled)) if unmodelled else None


def _cell_bytes(column: Column) -> int:
    """In whatever form a cell comes, as an object of JSON or of protobuf."""
    return _ENTRY_BYTES + _text_bytes(column.name) + _value_bytes(column)


def _value_bytes(column: Column) -> int:
    if isinstance(column, CategoryColumn):
        return max(map(_text_bytes, column.categories))
    if isinstance(column, BooleanColumn):
        return max(_WORD_BYTES, *map(_text_bytes, column.words))
    if isinstance(column, ConstantColumn) and isinstance(column.value, str):
        return _text_bytes(column.value)
    if isinstance(column, DerivedColumn):
        texts = [value for value in (*column.values, column.missing, *column.words) if isinstance(value, str)]
        return max(_LONG_BYTES, *map(_text_bytes, texts))
    return _NUMBER_BYTES if getattr(column, "type", None) == "numeric" else _LONG_BYTES


def _text_bytes(text: str) -> int:
    return len(text.encode()) + sum(letter in '"\\' for letter in text)
