"""From the parsed columns of a table to its schema, and from columns and schema to cells."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import ValidationError

from serving.bundle import plain, quoted
from serving.bundle.tables import (
    MISSING,
    OBSERVED,
    REST,
    UNKNOWN,
    BooleanColumn,
    CategoryColumn,
    Cells,
    Column,
    Modelled,
    NumericColumn,
    Schema,
    TimestampColumn,
)
from serving.bundle.tables.written.value_text import LONGEST
from training.modalities.table.reading.column_orders import orders_in
from training.modalities.table.reading.numeric_scale import scale_and_bins
from training.modalities.table.reading.parsed_columns import Parsed, Unfit, as_kinds
from training.modalities.table.reading.schema_overrides import ColumnOverride, Overrides
from training.modalities.table.reading.sources.raw_columns import Doubles, RawColumn, Told
from training.training_error import TrainingError

MOST_KINDS: Final = 256
"""Of a column's categories, unless told otherwise: rarer ones are the rest."""
MOST_LABELS: Final = 1024
_MOST_BINS: Final = 256
_PARAMETERS: Final = 60_000
"""Of all columns together: many columns have fewer bins and categories each."""


def share_of(columns: int) -> int:
    """How many bins or categories each of so many columns has at most."""
    return int(np.clip(_PARAMETERS // columns, 8, _MOST_BINS))


def build_schema(where: str, columns: Sequence[Parsed], overrides: Overrides, label: str | None) -> Schema:
    """The schema of a table. Raises TrainingError."""
    most = share_of(max(1, sum(column.apart is None for column in columns)))
    built: list[Column] = []
    for column in columns:
        if column.type == "ignore":
            continue
        if column.apart is not None:
            built.append(column.apart)
            continue
        told = overrides.of(column.name)
        kinds = MOST_LABELS if column.name == label else min(most, MOST_KINDS)
        try:
            built.append(_column(column, told, kinds, most))
        except ValidationError as exc:
            raise TrainingError(f"{where}: column {quoted(column.name)}: {_first(exc)}") from None
        except Unfit as unfit:
            raise TrainingError(f"{where}: {unfit}") from None
    if not any(isinstance(column, Modelled) for column in built):
        raise TrainingError(
            f"{where}: want a column that differs from row to row, came none; {_reasons(columns)}"
        )
    try:
        bare = Schema(columns=tuple(built), label=label)
        orders = overrides.orders
        if orders is None:
            orders = orders_in(bare, [column for column in columns if column.type != "ignore"])
        return bare if not orders else Schema(columns=bare.columns, label=label, orders=orders)
    except ValidationError as exc:
        raise TrainingError(f"{where}: {_first(exc)}") from None


def _first(exc: ValidationError) -> str:
    error = exc.errors(include_url=False, include_input=False)[0]
    return plain(str(error["msg"]).removeprefix("Value error, "))


def _reasons(columns: Sequence[Parsed]) -> str:
    return plain("; ".join(f"{quoted(column.name)}: {column.words}" for column in columns[:3]), 200)


def _column(column: Parsed, told: ColumnOverride, kinds: int, bins: int) -> Modelled:
    nullable = bool(not column.told.all()) if told.nullable is None else told.nullable
    if nullable is False and not column.told.all():
        row = int((~column.told).argmax())
        raise Unfit(column, row, 'a value, as "nullable": false says', "none")
    if column.type == "category":
        categories, rest = _categories(column, told.categories or kinds)
        return CategoryColumn(name=column.name, nullable=nullable, categories=categories, rest=rest)
    if column.type == "boolean":
        low, high = column.texts
        return BooleanColumn(name=column.name, nullable=nullable, words=(low, high))
    values = column.values[column.told]
    bounds = told.bounds or (float(values.min()), float(values.max()))
    outside = column.told & ((column.values < bounds[0]) | (column.values > bounds[1]))
    if outside.any():
        row = int(outside.argmax())
        raise Unfit(
            column, row, f"{bounds[0]:g} to {bounds[1]:g}, as --schema says", f"{column.values[row]:g}"
        )
    lattice = 1.0 if column.integer else column.resolution if column.type == "timestamp" else None
    scale, binned = scale_and_bins(values, lattice=lattice, most_bins=bins)
    if column.type == "timestamp":
        return TimestampColumn(
            name=column.name, nullable=nullable, bounds=bounds, scale=scale, bins=binned,
            resolution=column.resolution, zone="utc" if column.zoned else "local", written=column.written,
        )  # fmt: skip
    decimals = column.decimals if told.decimals is None or column.integer else told.decimals
    return NumericColumn(
        name=column.name, nullable=nullable, bounds=bounds, scale=scale, bins=binned,
        integer=column.integer, decimals=decimals, notation=column.notation,
    )  # fmt: skip


def _categories(column: Parsed, most: int) -> tuple[tuple[str, ...], bool]:
    """The most frequent ones, ties in order of the alphabet, and whether the last is the rest."""
    counts = np.bincount(column.values[column.told].astype(np.intp), minlength=len(column.texts))
    short = [place for place, text in enumerate(column.texts) if 1 <= len(text) <= LONGEST and counts[place]]
    order = sorted(short, key=lambda place: (-counts[place], column.texts[place]))
    names = [column.texts[place] for place in order]
    if len(names) <= most and len(names) == np.count_nonzero(counts):
        return tuple(names), False
    kept = names[: max(most - 1, 0)]
    rest = REST
    while rest in kept:
        rest = f"{rest}*"
    return (*kept, rest), True


def labelled(where: str, raw: RawColumn, column: Parsed) -> Parsed:
    """The column of labels as kinds. Raises TrainingError."""
    name = quoted(column.name)
    if column.type == "numeric" and len(np.unique(column.values[column.told])) <= MOST_LABELS:
        column = as_kinds(raw)
    if column.type not in ("category", "boolean"):
        what = f"{column.type} ({column.words})" if column.words else column.type
        raise TrainingError(f"{where}: --label {name}: want a column of a few kinds, came {what}")
    distinct = len(np.unique(column.values[column.told]))
    if distinct > MOST_LABELS:
        raise TrainingError(f"{where}: --label {name}: want at most {MOST_LABELS} kinds, came {distinct}")
    return column


def cells_of(where: str, schema: Schema, columns: dict[str, Parsed], rows: int) -> Cells:
    """The modelled cells. Raises TrainingError for a kind never seen, in a column without a rest."""
    cells = Cells.unknown(rows, len(schema.modelled))
    for place, column in enumerate(schema.modelled):
        given = columns.get(column.name)
        if given is None:
            cells.states[:, place] = MISSING if column.nullable else UNKNOWN
            continue
        values = given.values
        if isinstance(column, CategoryColumn):
            values = _indices(where, column, given)
        cells.values[:, place] = np.where(given.told, values, 0)
        cells.states[:, place] = _states(column, given.told)
    return cells


def _states(column: Modelled, told: Told) -> np.ndarray:
    return np.where(told, OBSERVED, MISSING if column.nullable else UNKNOWN).astype(np.int8)


def _indices(where: str, column: CategoryColumn, given: Parsed) -> Doubles:
    other = len(column.categories) - 1 if column.rest else -1
    index = [column.index.get(text, -1) for text in given.texts]
    found = np.array([*index, 0], np.float64)[given.values.astype(np.intp)]
    missed = given.told & (found < 0)
    if not missed.any():
        return found
    if other >= 0:
        return np.where(missed, other, found)
    row = int(missed.argmax())
    text = given.texts[int(given.values[row])]
    few = ", ".join(quoted(name) for name in column.categories[:3])
    wanted = f"want one of its {len(column.categories)} categories ({few} …)"
    raise TrainingError(
        f"{where}: column {quoted(column.name)}, row {row + 1}: {wanted}, came {quoted(text)}"
    )
