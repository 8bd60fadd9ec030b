"""All figures of synthetic rows at once."""

import time
from typing import Final

from serving.bundle.tables import Schema
from training.modalities.table.evaluation.closest_record import closest
from training.modalities.table.evaluation.kept_constraints import kept
from training.modalities.table.evaluation.quality_report import quality
from training.modalities.table.evaluation.taken import Samples, Table, Taken
from training.modalities.table.evaluation.trained_on_synthetic import learned_from
from training.modalities.table.evaluation.two_sample_test import told_apart

Protocol = dict[str, str | int | float]

TITLE: Final = "Synthetic records, beside real ones that the model has not seen"
WORDS: Final = (
    "Quality: shapes, how alike columns are, and trends, how alike pairs of columns are, of all pairs and of "
    "those that belong together strongly; 1 is equal, and few rows never are. C2ST: can a classifier tell "
    "synthetic rows from real ones? AUC 0.5 and score 1: it cannot. Learned from: AUC (or R²) on held-out "
    "rows of a classifier of the label, trained on synthetic rows or on real ones. Closest record: share of "
    "rows nearer to a training row than to a held-out row, 0.5 is right, 1 is learning by heart; copies: "
    "share of rows that are training rows to the last cell. The row real held-out is what real rows reach, "
    "with as many rows as there are."
)
"""Of the tables, for readers who have not seen the terms before."""


def record_quality(schema: Schema, samples: Samples, *, target: str | None = None, seed: int = 0) -> Taken:
    """Quality report, C2ST, train on synthetic (with a target or a label), closest record, constraints.

    The quality report and what is learned from rows are beside held-out and real rows: what a perfect model
    would reach.

    Raises:
        ValueError: too few rows, or a target that is no modelled column.
    """
    began = time.perf_counter()
    real = quality(schema, samples.train, samples.held_out, seed=seed)
    taken = {"quality": quality(schema, samples.train, samples.synthetic, seed=seed)}
    taken["c2st"] = told_apart(schema, samples, seed=seed)
    if target is not None or schema.label is not None:
        taken["learned"] = learned_from(schema, samples, target=target, seed=seed)
    taken["closest"] = closest(schema, samples, seed=seed)
    taken["constraints"] = kept(schema, samples)
    tables: dict[str, Table] = {}
    protocol: Protocol = {"seed": seed}
    for name, found in taken.items():
        tables |= found.tables
        protocol |= {f"{name}_{key}": value for key, value in found.protocol.items() if key != "seed"}
    tables["quality"] = tables["quality"] | {"real held-out": real.tables["quality"]["synthetic"]}
    return Taken(protocol | {"seconds": time.perf_counter() - began}, tables)
