"""Train on synthetic rows, test on real ones (TSTR): are synthetic rows as good to learn from?

Esteban, Hyland & Rätsch 2017 (arXiv:1706.02633). K is the number of classes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import OBSERVED, BooleanColumn, CategoryColumn, Cells, Number, Schema
from training.modalities.table.evaluation.classifier_inputs import (
    described,
    fitted,
    matrix,
)
from training.modalities.table.evaluation.taken import Row, Samples, Taken, at_most, rows_for

MOST_CLASSES: Final = 20
"""A tree is grown for each; rarer ones are one."""

Doubles = NDArray[np.float64]


def learned_from(schema: Schema, samples: Samples, *, target: str | None = None, seed: int = 0) -> Taken:
    """What held-out rows are predicted to be after training on synthetic rows, and on real ones beside it.

    ``auc`` of a target of two classes, the mean of one class against all others for more, ``r2`` of a number.

    Args:
        target: a modelled column; the label of the schema unless given.

    Raises:
        ValueError: no target, or one that is no modelled column.
    """
    place = _place(schema, target)
    column = schema.modelled[place]
    rows = rows_for(len(schema.modelled))
    count = min(rows, len(samples.train))
    tested = at_most(samples.held_out, rows, seed)
    table = {
        name: score(schema, at_most(cells, count, seed), tested, place, seed=seed)
        for name, cells in (("synthetic", samples.synthetic), ("real", samples.train))
    }
    protocol: dict[str, str | int | float] = {
        "target": column.name,
        "model": described(len(schema.modelled)),
        "figure": "R²" if isinstance(column, Number) else "AUC; of more than two classes the macro mean",
        "held_out_rows": len(tested),
        "seed": seed,
    }
    return Taken(protocol, {"learned from": table})


def score(schema: Schema, train: Cells, test: Cells, place: int, *, seed: int = 0) -> Row:
    """``auc`` or ``r2`` of the column at ``place``, over test rows that have it."""
    regression = isinstance(schema.modelled[place], Number)
    inputs, wanted = _with_target(schema, train, place)
    test_inputs, known = _with_target(schema, test, place)
    figures: Row = {"rows": float(len(wanted))}
    if len(wanted) < 2 or len(known) < 2:
        return figures
    if regression:
        model = fitted(schema, inputs, wanted, seed=seed, without=place, regression=True)
        return _r2(known, model.predict(test_inputs)) | figures
    classes = np.unique(wanted)
    if len(classes) < 2:  # nothing to learn from: every row is predicted alike
        return _macro_auc(known, np.ones((len(known), 1)), classes) | figures
    model = fitted(schema, inputs, wanted, seed=seed, without=place)
    return _macro_auc(known, model.predict_proba(test_inputs), classes) | figures


def _place(schema: Schema, target: str | None) -> int:
    name = schema.label if target is None else target
    if name is None:
        raise ValueError("target: want the name of a column, for the table has no label; came none")
    if name not in schema.place:
        raise ValueError(f"target: want a modelled column, came {name!r}")
    return schema.place[name]


def _with_target(schema: Schema, cells: Cells, place: int) -> tuple[Doubles, Doubles]:
    there = cells.rows(cells.states[:, place] == OBSERVED)
    wanted = there.values[:, place]
    if isinstance(schema.modelled[place], CategoryColumn | BooleanColumn):
        wanted = np.minimum(wanted, MOST_CLASSES - 1)
    return matrix(schema, there, without=place), wanted


def _r2(known: Doubles, predicted: Doubles) -> Row:
    from sklearn.metrics import r2_score

    return {"r2": float(r2_score(known, predicted))} if np.ptp(known) > 0 else {}


def _macro_auc(known: Doubles, probabilities: Doubles, classes: Doubles) -> Row:
    """Over the classes of the test rows; one that was not learned is never told from the others."""
    from sklearn.metrics import roc_auc_score

    there = np.unique(known)
    if len(there) < 2:
        return {}
    of = {value: probabilities[:, column] for column, value in enumerate(classes.tolist())}
    tested = there[1:] if len(there) == 2 else there
    unlearned = np.zeros(len(known))
    aucs = [roc_auc_score(known == value, of.get(value, unlearned)) for value in tested.tolist()]
    return {"auc": float(np.mean(aucs))}
