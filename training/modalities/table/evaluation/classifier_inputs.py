"""Cells as gradient boosting takes them, and how much of them.

n is the number of rows, C of modelled columns.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import OBSERVED, Cells, Number, Schema

Doubles = NDArray[np.float64]

MOST_CATEGORIES: Final = 254
"""Of a column, as scikit-learn takes them; rarer ones are one."""
MOST_ITERATIONS: Final = 100
FEWEST_ITERATIONS: Final = 10


def matrix(schema: Schema, cells: Cells, *, without: int | None = None) -> Doubles:
    """[n, C] numbers and indices of categories; NaN where a cell is missing. ``without``: one is left out."""
    values = np.where(cells.states == OBSERVED, cells.values, np.nan)
    for place in categorical(schema):
        values[:, place] = np.minimum(values[:, place], MOST_CATEGORIES - 1)
    return values if without is None else np.delete(values, without, axis=1)


def categorical(schema: Schema, *, without: int | None = None) -> list[int]:
    """The columns of ``matrix`` that are no numbers."""
    kept = [column for place, column in enumerate(schema.modelled) if place != without]
    return [place for place, column in enumerate(kept) if not isinstance(column, Number)]


def iterations_for(columns: int) -> int:
    """100 of up to 200 columns, fewer of more: the time of each grows with them."""
    return min(MOST_ITERATIONS, max(FEWEST_ITERATIONS, 20_000 // columns))


def described(columns: int) -> str:
    """For the protocol."""
    return f"scikit-learn HistGradientBoosting, {iterations_for(columns)} iterations, learning rate 0.1"


def fitted(
    schema: Schema,
    inputs: Doubles,
    wanted: NDArray[Any],
    *,
    seed: int,
    without: int | None = None,
    regression: bool = False,
) -> Any:
    """Gradient boosting of a ``matrix`` [n, C]; ``wanted`` [n]: classes, or numbers with ``regression``."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    made = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    places = categorical(schema, without=without)
    model = made(
        max_iter=iterations_for(len(schema.modelled)),
        learning_rate=0.1,
        categorical_features=places or None,
        random_state=seed,
    )
    told = ~np.isnan(inputs).all(axis=0)  # scikit-learn refuses a column without a cell
    return model.fit(np.where(told, inputs, 0.0), wanted)
