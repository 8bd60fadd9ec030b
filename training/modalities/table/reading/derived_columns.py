"""Columns that are a function of another one, such as the number of a name: they need not be learned.

p(x|z) draws the columns one by one, so that it would not keep such pairs together. n is the number of rows,
C that of the modelled columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from serving.bundle import quoted
from serving.bundle.tables import (
    NOT_TOLD,
    OBSERVED,
    BooleanColumn,
    CategoryColumn,
    CellError,
    Cells,
    Column,
    DerivedColumn,
    Lookup,
    Modelled,
    NumericColumn,
    Schema,
    TimestampColumn,
    Told,
    column_values,
    settle,
)
from serving.bundle.tables.apart.apart_kinds import Scalar
from serving.bundle.tables.written.timestamps import Seconds
from training.modalities.table.reading.number_texts import PLAIN
from training.modalities.table.reading.parsed_columns import (
    Parsed,
    Unfit,
    as_booleans,
    as_kinds,
    as_numbers,
    as_times,
)
from training.modalities.table.reading.schema_overrides import ColumnOverride, Overrides
from training.modalities.table.reading.sources.frames import Frame
from training.modalities.table.reading.sources.raw_columns import Doubles, RawColumn
from training.training_error import TrainingError

MOST_SOURCES: Final = 256
"""So many columns are tried as what others follow from."""
_ROWS_BEYOND: Final = 100
"""Beyond the first of each category: rows that could have had another value."""
_ROWS_EACH: Final = 10
"""On average, of a category."""
_EXPECTED: Final = 20.0
"""So many rows must break the function if columns had nothing to do with one another, or it is no finding."""
_FEW, _MORE = 500, 8_000
"""Rows that are looked at before all are: most pairs end there."""

Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Source:
    """A column that others may follow from."""

    place: int
    group_of: Rows
    """[n] the category of a row; missing is one of them."""
    first: Rows
    """[groups] the first row of each."""
    categories: Rows
    """[K] the group of each category."""
    missing: int | None
    """The group of the rows where it is missing."""

    @property
    def rows_beyond(self) -> int:
        return len(self.group_of) - len(self.first)

    def decides(self, keys: Doubles) -> bool:
        """Whether each category has one of the [n] values."""
        return bool((keys == keys[self.first[self.group_of]]).all())


def derive(schema: Schema, cells: Cells, overrides: Overrides) -> tuple[Schema, Cells]:
    """The same with columns derived where, in all rows, each category of another has one value, or none.

    There are at least 100 rows beyond the first of each category, ten times as many rows as categories, and
    of columns that had nothing to do with one another 20 rows would differ. Of two categories that follow
    from each other the first is kept. Labels, columns of orders and those of which ``overrides`` say more
    than how they are written stay in the model, and so does all that others follow from.
    """
    sources = _sources(schema, cells)
    free = _free(schema, overrides) if sources else []
    follows = _followed(sources, free, cells)
    gone = {b for a, b in follows if not ((b, a) in follows and b < a)}
    derived: dict[str, Column] = {}
    for place in sorted(gone):
        found = [one for one in sources if (one.place, place) in follows and one.place not in gone]
        if found:
            best = min(found, key=lambda source: len(source.first))
            derived[schema.modelled[place].name] = _derived(schema, cells, best, schema.modelled[place])
    if not derived:
        return schema, cells
    columns = tuple(derived.get(column.name, column) for column in schema.columns)
    kept = [place for place, column in enumerate(schema.modelled) if column.name not in derived]
    bare = Schema(columns=columns, label=schema.label, orders=schema.orders)
    return bare, Cells(cells.values[:, kept], cells.states[:, kept])


def _keys(cells: Cells, place: int) -> Doubles:
    """[n] values that differ where the cells do."""
    return np.where(cells.states[:, place] == OBSERVED, cells.values[:, place], -np.inf)


def _sources(schema: Schema, cells: Cells) -> list[_Source]:
    """Those with enough rows for each of their categories, all of which are there."""
    places = [i for i, c in enumerate(schema.modelled) if isinstance(c, CategoryColumn | BooleanColumn)]
    found = []
    for place in places[:MOST_SOURCES]:
        groups, first, group_of = np.unique(_keys(cells, place), return_index=True, return_inverse=True)
        missing = 0 if groups[0] < 0 else None
        categories = np.flatnonzero(groups >= 0)
        source = _Source(place, group_of.reshape(-1), first, categories, missing)
        enough = source.rows_beyond >= _ROWS_BEYOND and len(first) * _ROWS_EACH < len(cells)
        if enough and len(categories) == schema.modelled[place].codes:
            found.append(source)
    return found


def _followed(sources: Sequence[_Source], free: Sequence[int], cells: Cells) -> set[tuple[int, int]]:
    """Pairs of places (a, b) of which b follows from a, and not by chance."""
    first = [one.first[one.group_of[:_MORE]] for one in sources]
    follows = set()
    for place in free:
        keys = _keys(cells, place)
        shares = np.unique(keys, return_counts=True)[1] / len(keys)
        differ = 1 - np.square(shares).sum()
        left = [i for i, a in enumerate(sources) if a.place != place and a.rows_beyond * differ >= _EXPECTED]
        for rows in (_FEW, _MORE):
            some = keys[:rows]
            left = [i for i in left if np.array_equal(some[first[i][:rows]], some)]
        follows |= {(sources[i].place, place) for i in left if sources[i].decides(keys)}
    return follows


def _free(schema: Schema, overrides: Overrides) -> list[int]:
    """The places of the columns that may be derived."""
    kept = {schema.label, *(name for pair in schema.orders for name in pair)}
    free = []
    for place, column in enumerate(schema.modelled):
        loses_rare_values = isinstance(column, CategoryColumn) and column.rest
        if column.name not in kept and not loses_rare_values and _says_nothing(overrides.of(column.name)):
            free.append(place)
    return free


def _says_nothing(told: ColumnOverride) -> bool:
    """But how values are written."""
    return told.model_copy(update={"missing": (), "format": None}) == ColumnOverride()


def _derived(schema: Schema, cells: Cells, source: _Source, column: Modelled) -> DerivedColumn:
    of_group = cast(list[Scalar], column_values(schema, cells.rows(source.first))[column.name])
    return DerivedColumn(
        name=column.name,
        of=schema.modelled[source.place].name,
        kind=column.type,
        values=tuple(of_group[group] for group in source.categories),
        missing=None if source.missing is None else of_group[source.missing],
        words=column.words if isinstance(column, BooleanColumn) else ("false", "true"),
        notation=column.notation if isinstance(column, NumericColumn) else PLAIN,
        written=column.written if isinstance(column, TimestampColumn) else (),
    )


def settle_derived(frame: Frame, schema: Schema, overrides: Overrides, cells: Cells) -> None:
    """Unknown cells become what derived columns say of them. Raises TrainingError where those disagree."""
    raw = {column.name: column for column in frame.columns}
    nothing = np.zeros(frame.rows, np.bool_)
    told = []
    try:
        for column in schema.derived:
            override = overrides.of(column.name)
            came = raw[column.name].without(frozenset(override.missing)) if column.name in raw else None
            if came is not None and came.told.any():
                lookup = Lookup(schema, column)
                codes, values = _coded(lookup, _parsed(column, came, override.format, frame.decimal_comma))
                told.append(Told(lookup, codes, values.__getitem__, nothing))
        settle(cells, told)
    except Unfit as unfit:
        raise TrainingError(f"{frame.where}: {unfit}") from None
    except CellError as exc:
        place = f"column {quoted(exc.column)}, row {1 + (exc.row or 0)}"
        raise TrainingError(f"{frame.where}: {place}: want {exc.wanted}, came {exc.came}") from None


def _coded(lookup: Lookup, came: Parsed) -> tuple[Rows, NDArray[np.object_]]:
    """[n] the codes of the values; [n] these as their column has them."""
    distinct, which = np.unique(came.values, return_inverse=True)
    values = np.empty(len(distinct), object)
    values[:] = [_value(lookup.column, came, value) for value in distinct.tolist()]
    codes = lookup.codes(values.tolist())[which.reshape(-1)]
    return np.where(came.told, codes, NOT_TOLD), values[which.reshape(-1)]


def _parsed(column: DerivedColumn, raw: RawColumn, form: str | None, decimal_comma: bool) -> Parsed:
    """The cells of a derived column. Raises Unfit."""
    if column.kind == "category":
        return as_kinds(raw)
    if column.kind == "boolean":
        return as_booleans(raw, column.words)
    if column.kind == "timestamp":
        return as_times(raw, form)
    return as_numbers(raw, decimal_comma=decimal_comma)


def _value(column: DerivedColumn, came: Parsed, value: float) -> object:
    if column.kind == "category":
        return came.texts[int(value)]
    if column.kind == "timestamp":
        return Seconds(value)
    if column.kind == "boolean":
        return bool(value)
    return int(value) if came.integer else value
