"""Real rows with dependent columns, made here, and Adult where it is; what a poor model would make of them."""

from pathlib import Path

import numpy as np

from serving.bundle.tables import BooleanColumn, CategoryColumn, Cells, Schema
from tests.support.table_schemas import dates, number
from training.modalities.table.evaluation.taken import Samples
from training.modalities.table.reading import read_table

JOBS = ("clerk", "smith", "nurse", "judge")


def staff() -> Schema:
    """Age, start and end, pay, job and whether married: each depends on others."""
    return Schema(
        columns=(
            number("age", [17.5, 40.5, 80.5], integer=True),
            number("pay", [0.0, 1000.0, 9000.0], decimals=2, nullable=True),
            CategoryColumn(name="job", nullable=True, categories=JOBS, rest=False),
            BooleanColumn(name="married", nullable=False),
            dates("start", range(18000, 18400, 50)),
            dates("end", range(18000, 18800, 50)),
        ),
        label="married",
        orders=(("start", "end"),),
    )


def real_rows(count: int, seed: int) -> Cells:
    """Of ``staff``: pay grows with age and job, the young are rarely married, clerks' pay is often missing."""
    draw = np.random.default_rng(seed)
    age = draw.integers(18, 81, count)
    job = np.minimum(draw.geometric(0.45, count) - 1, 3)
    pay = np.round(np.clip(300 + 60 * age + 900 * job + 300 * draw.standard_normal(count), 0, 9000), 2)
    married = draw.random(count) < 1 / (1 + np.exp(-(age - 45) / 6))
    start = 18000 + draw.integers(0, 351, count)
    end = start + draw.integers(0, 300, count)
    values = np.stack([age, pay, job, married, start * 86400.0, end * 86400.0], axis=1).astype(np.float64)
    states = np.ones(values.shape, np.int8)
    states[(draw.random(count) < 0.5) & (job == 0), 1] = -1
    states[draw.random(count) < 0.1, 2] = -1
    return Cells(np.where(states == 1, values, 0.0), states)


def shuffled(cells: Cells, seed: int) -> Cells:
    """Each column in an order of its own: the marginals are right and nothing else."""
    draw = np.random.default_rng(seed)
    values, states = cells.values.copy(), cells.states.copy()
    for place in range(values.shape[1]):
        order = draw.permutation(len(values))
        values[:, place], states[:, place] = values[order, place], states[order, place]
    return Cells(values, states)


def samples(rows: int = 1500, *, synthetic: Cells | None = None) -> Samples:
    """Three sets of real rows, unless other synthetic ones are given."""
    return Samples(
        real_rows(rows, 1), real_rows(rows, 2), real_rows(rows, 3) if synthetic is None else synthetic
    )


def adult(folder: Path, rows: int) -> tuple[Schema, Samples]:
    """Adult's first rows in three sets."""
    whole = read_table(folder / "tables" / "adult.csv", label="class")
    parts = [whole.cells.rows(slice(first, first + rows)) for first in range(0, 3 * rows, rows)]
    return whole.schema, Samples(*parts)
