"""How well scores find odd rows, and odd cells within them.

Higher scores are odder. n is the number of rows, C of modelled columns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import Cells
from training.modalities.table.evaluation.taken import Row, Table

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
LARGEST = 1e300
"""What a score that is not finite counts as: the oddest."""


def row_auroc(scores: Mapping[str, Doubles], is_odd: Flags) -> Table:
    """Name of a score to how well its values [n] find the rows that are odd [n].

    ``auroc``: 1 finds all of them first, 0.5 is chance; ``aupr``: average precision, of which chance is the
    share of odd rows; ``fpr95``: share of odd rows that pass when 95 % of the others do.

    Raises:
        ValueError: all rows are odd, or none is, or there are not as many scores as rows.
    """
    if not 0 < is_odd.sum() < len(is_odd):
        raise ValueError(f"odd rows: want some and not all, came {int(is_odd.sum())} of {len(is_odd)}")
    return {name: _row(_finite(values, is_odd.shape), is_odd) for name, values in scores.items()}


def column_auroc(scores: Doubles, is_odd: Flags, names: Sequence[str]) -> Table:
    """Column to ``auroc``, among the rows [n, C], of its own scores for its own odd cells; and ``all``.

    ``all`` has their mean and ``found``, the share of rows with one odd cell of which it has the highest
    score. A column with odd cells alone, or without any, has no row.
    """
    from sklearn.metrics import roc_auc_score

    scores = _finite(scores, is_odd.shape)
    if len(names) != scores.shape[1]:
        raise ValueError(f"names: want {scores.shape[1]}, one a column, came {len(names)}")
    table: Table = {}
    for place, name in enumerate(names):
        odd = is_odd[:, place]
        if 0 < odd.sum() < len(odd):
            table[name] = {"auroc": float(roc_auc_score(odd, scores[:, place])), "odd": float(odd.sum())}
    if not table:
        raise ValueError("odd cells: want some and not all in one column at least, came none")
    every: Row = {"auroc": float(np.mean([row["auroc"] for row in table.values()]))}
    alone = is_odd.sum(axis=1) == 1
    if alone.any():
        found = is_odd[alone, scores[alone].argmax(axis=1)]
        every |= {"found": float(found.mean()), "found_se": float(found.std() / np.sqrt(len(found)))}
    return {"all": every} | table


def with_odd_cells(cells: Cells, *, seed: int) -> tuple[Cells, Flags]:
    """Every other row with one cell of another row in its place, and which cells [n, C] those are.

    Each such cell is as likely as any of its column and wrong only beside the others of its row. A cell that
    would stay what it is is left as it is, and does not count.
    """
    draw = np.random.default_rng(seed)
    values, states = cells.values.copy(), cells.states.copy()
    count, columns = values.shape
    rows = np.arange(0, count, 2)
    places, others = draw.integers(columns, size=len(rows)), draw.integers(count, size=len(rows))
    values[rows, places] = cells.values[others, places]
    states[rows, places] = cells.states[others, places]
    return Cells(values, states), (values != cells.values) | (states != cells.states)


def _row(values: Doubles, is_odd: Flags) -> Row:
    from sklearn.metrics import average_precision_score, roc_auc_score

    limit = np.quantile(values[~is_odd], 0.95, method="inverted_cdf")
    return {
        "auroc": float(roc_auc_score(is_odd, values)),
        "aupr": float(average_precision_score(is_odd, values)),
        "fpr95": float((values[is_odd] <= limit).mean()),
    }


def _finite(values: Doubles, shape: tuple[int, ...]) -> Doubles:
    if values.shape != shape:
        raise ValueError(f"scores: want {list(shape)}, came {list(values.shape)}")
    return np.nan_to_num(values, nan=LARGEST, posinf=LARGEST, neginf=-LARGEST)
