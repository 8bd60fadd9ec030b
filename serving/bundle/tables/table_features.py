"""What the encoder takes of a table: three float32 numbers a cell.

[n, 3C]: the codes of all modelled columns, then their scores, then their states.
"""

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.cells import MISSING, OBSERVED, Cells
from serving.bundle.tables.column_kinds import Number
from serving.bundle.tables.table_schema import Schema


def to_features(schema: Schema, cells: Cells) -> NDArray[np.float32]:
    """[n, 3C] for cells [n, C].

    A code is the index of the cell's logit in p(x|z), that for missing not counted: of its category, of its
    bin or tail, 0 or 1 of a boolean; 0 of a number without bins. A score is the normal score of a number, 0
    of others. A state is 1 observed, 0 unknown, -1 missing; code and score are 0 unless it is 1.

    Raises:
        ValueError: the cells are of another number of columns, or missing where the schema has none missing.
    """
    check(schema, cells)
    count = len(schema.modelled)
    features = np.zeros((len(cells), 3 * count), np.float32)
    for place, column in enumerate(schema.modelled):
        values = cells.values[:, place]
        if isinstance(column, Number):
            observed = cells.states[:, place] == OBSERVED
            features[:, place] = np.where(observed, column.density.code(values), 0)
            features[:, count + place] = np.where(observed, column.density.score(values), 0)
        else:
            features[:, place] = values
    features[:, 2 * count :] = cells.states
    return features


def check(schema: Schema, cells: Cells) -> None:
    """Raises ValueError unless these cells can be of that schema."""
    if cells.values.shape[1] != len(schema.modelled):
        raise ValueError(f"cells: want {len(schema.modelled)} columns, came {cells.values.shape[1]}")
    for column, missing in zip(schema.modelled, (cells.states == MISSING).any(0), strict=True):
        if missing and not column.nullable:
            raise ValueError(f"column {column.name!r}: want no missing cell, the data had none; came some")
