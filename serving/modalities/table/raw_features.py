"""Features as callers of Open Inference Protocol send them: the tensor itself, as ``to_features`` makes it.

A graph looks codes up in tables: one that is out of them would fail the batch of others.
"""

import numpy as np

from serving.bundle.tables import LARGEST_SCORE, Number, Schema
from serving.errors import InvalidInput, quoted
from serving.modalities.modality import Rows


def check_features(schema: Schema, features: Rows, field: str) -> None:
    """Of finite [rows, 3C]. Raises InvalidInput naming column and row."""
    count = len(schema.modelled)
    codes, scores, states = (features[:, part * count : (part + 1) * count] for part in range(3))
    observed = states == 1
    most = np.array([column.codes - 1 for column in schema.modelled], np.float32)
    are_numbers = np.array([isinstance(column, Number) for column in schema.modelled])
    nullable = np.array([column.nullable for column in schema.modelled])
    checks = (
        (
            "a state of 1 (observed), 0 (unknown) or, if it is nullable, -1 (missing)",
            states,
            observed | (states == 0) | ((states == -1) & nullable),
        ),
        (
            "a whole code from 0 to that of the last value, 0 where not observed",
            codes,
            (codes == np.floor(codes)) & (codes >= 0) & (codes <= np.where(observed, most, 0)),
        ),
        (
            f"a score of at most {LARGEST_SCORE:g}, 0 where not observed or no number",
            scores,
            np.abs(scores) <= np.where(observed & are_numbers, np.float32(LARGEST_SCORE), 0),
        ),
    )
    for wanted, came, good in checks:
        if not good.all():
            row, place = (int(index) for index in np.argwhere(~good)[0])
            name = quoted(schema.modelled[place].name)
            raise InvalidInput(field, f"column {name}, row {row}: want {wanted}, came {came[row, place]:g}")
