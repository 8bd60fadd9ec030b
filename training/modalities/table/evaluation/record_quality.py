"""All figures of synthetic rows at once."""

import time

from serving.bundle.tables import Schema
from training.modalities.table.evaluation.closest_record import closest
from training.modalities.table.evaluation.kept_constraints import kept
from training.modalities.table.evaluation.quality_report import quality
from training.modalities.table.evaluation.taken import Samples, Table, Taken
from training.modalities.table.evaluation.trained_on_synthetic import learned_from
from training.modalities.table.evaluation.two_sample_test import told_apart

Protocol = dict[str, str | int | float]


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
