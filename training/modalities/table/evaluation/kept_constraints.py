"""Which share of cells and rows keep what users ask of their data: bounds, whole numbers, rounding, a <= b.

n is the number of rows.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables import OBSERVED, Cells, Number, NumericColumn, Schema, TimestampColumn
from training.modalities.table.evaluation.taken import Row, Samples, Table, Taken

WHOLE: Final = 1e-6
"""How far from a multiple, in multiples, a value may be for a double's rounding."""

Doubles = NDArray[np.float64]


def kept(schema: Schema, samples: Samples) -> Taken:
    """Of synthetic rows and of held-out ones: ``kept`` is a share, ``of`` the count of cells or of pairs."""
    tables = {
        "synthetic": dict(checks(schema, samples.synthetic)),
        "real held-out": dict(checks(schema, samples.held_out)),
    }
    names = list(dict.fromkeys(name for rows in tables.values() for name in rows))
    table: Table = {name: _beside(name, tables) for name in names}
    protocol: dict[str, str | int | float] = {
        "bounds": "least and largest value of the training rows, or what the schema's user has set",
        "columns": len(schema.modelled),
        "orders": len(schema.orders),
    }
    return Taken(protocol, {"constraints kept": table})


def checks(schema: Schema, cells: Cells) -> Iterator[tuple[str, Row]]:
    """Name of a constraint to ``kept`` and ``of``: for all columns together, for each order alone."""
    numbers = [
        (column, cells.values[cells.states[:, place] == OBSERVED, place])
        for place, column in enumerate(schema.modelled)
        if isinstance(column, Number)
    ]
    yield from _share("bounds", [_inside(values, column.bounds) for column, values in numbers])
    integers = [v for column, v in numbers if isinstance(column, NumericColumn) and column.integer]
    yield from _share("integers", [_multiples(values, 1.0) for values in integers])
    rounded = [
        _multiples(values, 10.0**-column.decimals)
        for column, values in numbers
        if isinstance(column, NumericColumn) and not column.integer and column.decimals is not None
    ]
    yield from _share("decimals", rounded)
    times = [_multiples(v, column.resolution) for column, v in numbers if isinstance(column, TimestampColumn)]
    yield from _share("resolution of times", times)
    for low, high in schema.orders:
        yield from _share(f"{low} <= {high}", [_ordered(schema, cells, low, high)])


def _beside(name: str, tables: dict[str, Table]) -> Row:
    row: Row = {}
    for kind, prefix in (("synthetic", ""), ("real held-out", "real_")):
        found = tables[kind].get(name, {})
        row |= {f"{prefix}{key}": value for key, value in found.items()}
    return row


def _share(name: str, checked: list[NDArray[np.bool_]]) -> Iterator[tuple[str, Row]]:
    """Nothing where there is no such cell."""
    count = sum(map(len, checked))
    if count:
        kept_ones = sum(int(part.sum()) for part in checked)
        yield name, {"kept": kept_ones / count, "of": float(count)}


def _inside(values: Doubles, bounds: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= bounds[0]) & (values <= bounds[1])


def _multiples(values: Doubles, unit: float) -> NDArray[np.bool_]:
    """Of a unit, to what a double can tell."""
    multiples = values / unit
    slack = np.maximum(WHOLE, np.spacing(np.abs(multiples)))
    return np.asarray(np.abs(multiples - np.round(multiples)) <= slack)


def _ordered(schema: Schema, cells: Cells, low: str, high: str) -> NDArray[np.bool_]:
    """[rows that have both]"""
    pair = [schema.place[low], schema.place[high]]
    there = (cells.states[:, pair] == OBSERVED).all(axis=1)
    return np.asarray(cells.values[there, pair[0]] <= cells.values[there, pair[1]])
