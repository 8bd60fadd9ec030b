"""Classifier two-sample test (C2ST): can gradient boosting tell synthetic rows from real ones?

Lopez-Paz & Oquab 2017 (arXiv:1610.06545); the score is the one of the literature on tables, which begins with
SDMetrics' detection metrics.
"""

from typing import Final

import numpy as np

from serving.bundle.tables import Cells, Schema
from training.modalities.table.evaluation.classifier_inputs import (
    described,
    fitted,
    matrix,
)
from training.modalities.table.evaluation.taken import Row, Samples, Taken, at_most, rows_for

FOLDS: Final = 3


def told_apart(schema: Schema, samples: Samples, *, seed: int = 0) -> Taken:
    """Training rows against synthetic ones, and against held-out ones beside it.

    ``auc`` is 0.5 where the classifier cannot tell. ``score`` = 1 − (2·max(½, AUC) − 1) is 1 there, and 0
    where it always can.
    """
    table = {
        "synthetic": c2st(schema, samples.train, samples.synthetic, seed=seed),
        "real held-out": c2st(schema, samples.train, samples.held_out, seed=seed),
    }
    protocol: dict[str, str | int | float] = {
        "classifier": described(len(schema.modelled)),
        "cross_validation": f"{FOLDS} folds, rows in random order",
        "against": "as many training rows",
        "seed": seed,
    }
    return Taken(protocol, {"c2st": table})


def c2st(schema: Schema, real: Cells, other: Cells, *, seed: int = 0) -> Row:
    """AUC of the cross-validated probabilities for equally many rows of both.

    Raises:
        ValueError: fewer rows of one of them than there are folds.
    """
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    rows = rows_for(len(schema.modelled))
    rows = min(rows, len(real), len(other))
    if rows < FOLDS:
        raise ValueError(f"rows: want at least {FOLDS} of each table, came {rows}")
    tables = [matrix(schema, at_most(cells, rows, seed + i)) for i, cells in enumerate((real, other))]
    inputs, is_other = np.concatenate(tables), np.repeat([0, 1], rows)
    found = np.empty(2 * rows)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for fit, judged in folds.split(inputs, is_other):
        model = fitted(schema, inputs[fit], is_other[fit], seed=seed)
        found[judged] = model.predict_proba(inputs[judged])[:, 1]
    auc = float(roc_auc_score(is_other, found))
    return {"auc": auc, "score": 1 - (2 * max(0.5, auc) - 1), "rows": float(rows)}
