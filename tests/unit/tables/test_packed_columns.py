"""Packed columns, as the client sends them, become the cells that lists of the same values are."""

import numpy as np

from serving.bundle.tables import Cells, NumericColumn, Schema, cells_of_columns
from serving.modalities.table.packed_columns import cells_of_packed
from serving.pb.vae.v1 import tensors_pb2
from tests.support.table_schemas import gaussian

WIDE = 300


def wide() -> Schema:
    return Schema(columns=tuple(gaussian(f"c{place}", [0.0, 10.0]) for place in range(WIDE)))


def packed(texts: list[list[str]]) -> tensors_pb2.Columns:
    """A column a list, each text a word of its own."""
    message = tensors_pb2.Columns()
    for place, column in enumerate(texts):
        coded = message.columns.add(name=f"c{place}").texts
        coded.dictionary.extend(column)
        coded.codes.extend(range(len(column)))
    return message


def test_work_grows_with_the_cells_and_not_with_their_square(monkeypatch):
    """Every column is read by itself: no array of the whole table is made for each of them."""
    schema = wide()
    assert all(isinstance(column, NumericColumn) for column in schema.modelled)
    texts = [[f"{row + place}" for row in range(5)] for place in range(WIDE)]
    tables = []
    of_nothing = Cells.unknown
    monkeypatch.setattr(Cells, "unknown", lambda *shape: tables.append(shape) or of_nothing(*shape))
    cells = cells_of_packed(packed(texts), schema, "refuse", "refuse")
    assert len(tables) <= 2
    lists = {f"c{place}": list(column) for place, column in enumerate(texts)}
    assert np.array_equal(cells.values, cells_of_columns(schema, lists).values)
