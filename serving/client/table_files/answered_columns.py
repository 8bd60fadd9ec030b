"""What the server answered, as columns of a table. n is the number of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.client.files import FileError
from serving.client.results import Posteriors, Scores
from serving.client.table_files.table_files import Columns
from serving.errors import quoted

FIGURES = ("nelbo", "distortion", "rate", "nll", "quantile")
_ODDEST = "oddest"


def figures_of(scores: Scores, usual: NDArray[Any], *, by_column: bool) -> dict[str, Any]:
    """Columns by name: the figures, which cell is the oddest, and if asked for the distortion of each.

    The oddest is the one whose distortion exceeds that which is ``usual`` [columns] by most.
    """
    found = {name: getattr(scores, name) for name in FIGURES if getattr(scores, name) is not None}
    if scores.column_distortion is not None:
        places = (scores.column_distortion - usual).argmax(axis=1)
        found[_ODDEST] = [scores.columns[place] for place in places.tolist()]
        if by_column:
            by_name = zip(scores.columns, scores.column_distortion.T, strict=True)
            found |= {f"distortion of {name}": values for name, values in by_name}
    return found


def filled_in(given: Columns, filled: Columns, draws: int) -> Columns:
    """In the order of the file, cells of text as they were in it; what it did not have comes behind."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys((*given, *filled)):
        new, old = filled.get(name), given.get(name)
        if isinstance(old, list):
            old = [cell for cell in old for _ in range(draws)]
        elif old is not None:
            old = old.take(np.repeat(np.arange(len(old)), draws))
        if isinstance(old, list) and isinstance(new, list):
            new = [answer if cell is None else cell for cell, answer in zip(old, new, strict=True)]
        found[name] = old if new is None else new
    return found


def with_draws(columns: Columns, first_row: int, draws: int) -> Columns:
    """With the number of the row in the file and of its draw, both from 0."""
    if taken := next((name for name in ("row", "draw") if name in columns), None):
        raise FileError(f"want no column of the name {quoted(taken)}, which --draws makes")
    rows = len(next(iter(columns.values())))
    numbers = np.arange(rows)
    return {"row": first_row + numbers // draws, "draw": numbers % draws, **columns}


def joined(posteriors: Sequence[Posteriors]) -> dict[str, NDArray[Any]]:
    names = ("mean", "log_var", "latents", "pool_probabilities")
    known = [name for name in names if getattr(posteriors[0], name) is not None]
    return {name: np.concatenate([getattr(part, name) for part in posteriors]) for name in known}


def latent_columns(arrays: dict[str, NDArray[Any]], pools: Sequence[str]) -> Columns:
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        flat = array.reshape(len(array), -1).T
        if name == "pool_probabilities":
            found |= {f"pool {pool}": values for pool, values in zip(pools, flat, strict=True)}
        else:
            found |= {f"{name}_{place}": values for place, values in enumerate(flat)}
    return found
