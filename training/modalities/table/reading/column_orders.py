"""Pairs of columns of which one is never above the other, such as dates of orders and of deliveries."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from serving.bundle.tables import Number, Schema
from training.modalities.table.reading.parsed_columns import Parsed
from training.modalities.table.reading.sources.raw_columns import Doubles, Told

MOST_COLUMNS_COMPARED: Final = 256
_EXPECTED: Final = 20.0
"""So many rows must break the order if columns had nothing to do with one another, or it is no finding."""
_SAMPLE: Final = 2000


def orders_in(schema: Schema, columns: Sequence[Parsed]) -> tuple[tuple[str, str], ...]:
    """Pairs (a, b) with a <= b in every row that has both; chains without what follows from them."""
    by_name = {column.name: column for column in columns}
    numbers = [column for column in schema.modelled if isinstance(column, Number)]
    if not 2 <= len(numbers) <= MOST_COLUMNS_COMPARED:
        return ()
    found: set[tuple[int, int]] = set()
    for first, low in enumerate(numbers):
        for last, high in enumerate(numbers):
            if first == last or (last, first) in found or not _comparable(low, high):
                continue
            if _ordered(by_name[low.name], by_name[high.name]):
                found.add((first, last))
    steps = {(a, c) for a, b in found for b2, c in found if b == b2}
    return tuple((numbers[a].name, numbers[b].name) for a, b in sorted(found - steps))


def _comparable(low: Number, high: Number) -> bool:
    """Of one kind and rounded alike, and not apart by their bounds alone."""
    alike = low.type == high.type and low.lattice == high.lattice and low.rounding == high.rounding
    zones = getattr(low, "zone", None) == getattr(high, "zone", None)
    inside = low.bounds[0] <= high.bounds[0] and low.bounds[1] <= high.bounds[1]
    return alike and zones and inside and low.bounds[1] > high.bounds[0]


def _ordered(low: Parsed, high: Parsed) -> bool:
    both = low.told & high.told
    if (_some(low.values, both) > _some(high.values, both)).any():  # most pairs end here
        return False
    a, b = low.values[both], high.values[both]
    if (a > b).any():
        return False
    below = np.searchsorted(np.sort(b), a, side="left").mean()  # of b, those under an a from another row
    return bool(below >= _EXPECTED)


def _some(values: Doubles, both: Told) -> Doubles:
    return values[:_SAMPLE][both[:_SAMPLE]]
