"""Records with some cells given: ``python -m benchmarks.tables.conditional --address A --data adult.csv``.

The service has a model of the table. Of each other column, the total variation between ``--count`` records
with the cells of ``--given`` and the rows of the data that have them; numbers by fifths of the whole table.
Beside it the same of resamples of those rows, as many, and of records of which nothing is given. The same
seed twice must give the same records.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import Cells, Number, Schema, cells_of_rows
from serving.client import Client
from training.modalities.table.reading import read_table

RESAMPLES = 20


def kinds(schema: Schema, cells: Cells, place: int, edges: NDArray[np.float64]) -> NDArray[Any]:
    """[n] of each cell: a category, or which fifth a number is in; -1 of one that is missing."""
    values = cells.values[:, place]
    found = (
        np.searchsorted(edges, values, side="right") if isinstance(schema.modelled[place], Number) else values
    )
    return np.where(cells.states[:, place] == 1, found, -1)


def variation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Total variation of two samples of kinds."""
    shares = [Counter(part.tolist()) for part in (one, other)]
    every = shares[0].keys() | shares[1].keys()
    return 0.5 * sum(abs(shares[0][k] / len(one) - shares[1][k] / len(other)) for k in every)


def line(name: str, told: float, chance: float, nothing: float) -> str:
    return f"{name:20.20} given {told:.3f}, resampled {chance:.3f}, nothing {nothing:.3f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--model", default="adult")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--given", action="append", default=None, metavar="COLUMN=VALUE")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args(arguments)
    given = dict(text.split("=", 1) for text in options.given or ["sex=Female", "education=Doctorate"])
    table = read_table(options.data)
    schema = table.schema
    with Client(options.address) as client:
        told, again = (
            client.sample_records(options.model, options.count, seed=1, given=given).records.rows()
            for _ in range(2)
        )
        plain = client.sample_records(options.model, 4 * options.count, seed=2).records.rows()
    print(f"the same seed, the same records: {told == again}")
    wanted = cells_of_rows(schema, [given], absent="unknown")
    has = (table.cells.values == wanted.values) | (wanted.states != 1)
    real = table.cells.rows(has.all(axis=1))
    print(f"{len(real)} rows of the data have {given}")
    source, figures = np.random.default_rng(0), []
    for place, column in enumerate(schema.modelled):
        if column.name in given:
            continue
        edges = np.unique(np.quantile(table.cells.values[:, place], [0.2, 0.4, 0.6, 0.8]))
        rows = kinds(schema, real, place, edges)
        drawn = [kinds(schema, cells_of_rows(schema, some), place, edges) for some in (told, plain)]
        chance = np.mean([variation(source.choice(rows, len(rows)), rows) for _ in range(RESAMPLES)])
        figures.append([variation(drawn[0], rows), float(chance), variation(drawn[1], rows)])
        print(line(column.name, *figures[-1]))
    print(line("mean", *np.mean(figures, axis=0)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
