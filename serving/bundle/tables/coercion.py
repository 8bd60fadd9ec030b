"""Values as callers and files have them, as cells: every one is checked, and one that does not fit is named.

null, and a text such as "" or "NA", is a missing cell where the data had missing ones in that column, an
unknown cell elsewhere. Columns that are constant or identifiers may be given, and are not looked at; a
derived one must agree with what it follows from, and stands for it where that is not told. n is the number
of rows.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.apart.apart_kinds import DerivedColumn
from serving.bundle.tables.apart.derived_cells import Lookup, Told, settle
from serving.bundle.tables.cells import MISSING, OBSERVED, UNKNOWN, CellError, Cells, Doubles
from serving.bundle.tables.column_kinds import (
    LARGEST,
    LARGEST_INTEGER,
    BooleanColumn,
    CategoryColumn,
    Modelled,
    NumericColumn,
    TimestampColumn,
)
from serving.bundle.tables.table_schema import Schema
from serving.bundle.tables.written.timestamps import Seconds, seconds_of
from serving.bundle.tables.written.value_text import MISSING_TEXTS, text_of
from serving.bundle.tables.written.written_numbers import number_of
from serving.bundle.tables.written.written_times import moment_of
from serving.errors import quoted

Unknown = Literal["refuse", "rest"]
Absent = Literal["missing", "unknown", "refuse"]

_ABSENT: Final = object()
_LONGEST_MISSING: Final = 16


def cells_of_rows(
    schema: Schema,
    rows: Sequence[Mapping[str, object]],
    *,
    unknown: Unknown = "refuse",
    absent: Absent = "missing",
) -> Cells:
    """Cells of records. ``unknown``: what a category never seen is; ``absent``: what a column not given is.

    Raises:
        CellError: naming column and row.
    """
    names = {column.name for column in schema.columns}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise CellError(None, number, "an object of columns and their values", type(row).__name__)
        if not row.keys() <= names:
            raise _unknown_column(schema, next(key for key in row if key not in names), number)
    columns = {c.name: [row.get(c.name, _ABSENT) for row in rows] for c in schema.modelled}
    for column in schema.derived:
        values = [row.get(column.name) for row in rows]
        if any(value is not None for value in values):
            columns[column.name] = values
    return _cells(schema, columns, len(rows), unknown, absent)


def cells_of_columns(
    schema: Schema,
    columns: Mapping[str, Sequence[object] | NDArray[Any]],
    *,
    unknown: Unknown = "refuse",
    absent: Absent = "missing",
) -> Cells:
    """The same of columns: lists, or arrays of one axis.

    Raises:
        CellError: naming column and row.
    """
    names = {column.name for column in schema.columns}
    first = next(iter(columns), None)
    count = 0 if first is None else len(columns[first])
    for name, values in columns.items():
        if name not in names:
            raise _unknown_column(schema, name, None)
        if len(values) != count:
            raise CellError(name, None, f"{count} values, as in column {quoted(first)}", str(len(values)))
    return _cells(schema, columns, count, unknown, absent)


def _unknown_column(schema: Schema, name: object, row: int | None) -> CellError:
    names = [column.name for column in schema.columns]
    near = get_close_matches(str(name), names, 1)
    wanted = f"{quoted(near[0])}?" if near else ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return CellError(str(name), row, f"a column of the table ({wanted})", "an unknown one")


def _cells(schema: Schema, columns: Mapping[str, Any], count: int, unknown: Unknown, absent: Absent) -> Cells:
    cells = Cells.unknown(count, len(schema.modelled))
    told = [_told(schema, column, columns, count) for column in schema.derived if column.name in columns]
    columns = _with_sources(columns, told)
    for place, column in enumerate(schema.modelled):
        states = cells.states[:, place]
        given = columns.get(column.name)
        if given is None:
            states[:] = _absent(column, None, absent)
        else:
            cells.values[:, place], states[:] = cells_of_column(column, given, unknown=unknown, absent=absent)
    settle(cells, told)
    return cells


def cells_of_column(
    column: Modelled, given: Sequence[object] | NDArray[Any], *, unknown: Unknown, absent: Absent
) -> tuple[Doubles, NDArray[np.int8]]:
    """Values and states [n] of a modelled column. Raises CellError."""
    if _are_numbers(given) and isinstance(column, NumericColumn):
        told = np.ones(len(given), np.bool_)
        return _checked(column, np.asarray(given, np.float64), told), np.full(len(given), OBSERVED, np.int8)
    values = _listed(given)
    states = _states(column, values, absent)
    return _coerced(column, values, states == OBSERVED, unknown), states


def _told(schema: Schema, column: DerivedColumn, columns: Mapping[str, Any], count: int) -> Told:
    lookup, values = Lookup(schema, column), _listed(columns[column.name])
    source = columns.get(column.of)
    absent = np.full(count, source is None)
    if source is not None and not isinstance(source, np.ndarray):
        absent = np.array([value is _ABSENT for value in source], np.bool_).reshape(count)
    return Told(lookup, lookup.codes(values), values.__getitem__, absent)


def _with_sources(columns: Mapping[str, Any], told: Sequence[Told]) -> Mapping[str, Any]:
    """With the cells that did not come, but follow from what came of a derived column."""
    found = dict(columns)
    for one in told:
        name, owners = one.lookup.column.of, one.lookup.owners(one.codes).tolist()
        values = found.get(name, [_ABSENT] * len(owners))
        if isinstance(values, np.ndarray) or max(owners, default=-1) < 0:
            continue
        pairs = zip(values, owners, strict=True)
        found[name] = [one.lookup.category(o) if v is _ABSENT and o >= 0 else v for v, o in pairs]
    return found


def _are_numbers(given: object) -> bool:
    return isinstance(given, np.ndarray) and given.dtype.kind in "iuf"


def _listed(values: Sequence[object] | NDArray[Any]) -> list[object]:
    if not isinstance(values, np.ndarray):
        return list(values)
    if values.dtype.kind != "M":
        return list(values.tolist())
    seconds, known = seconds_of(values)
    return [Seconds(s) if k else None for s, k in zip(seconds.tolist(), known.tolist(), strict=True)]


def _absent(column: Modelled, row: int | None, absent: Absent) -> int:
    if absent == "refuse":
        raise CellError(column.name, row, "a value of it", "none")
    return MISSING if absent == "missing" and column.nullable else UNKNOWN


def _states(column: Modelled, values: list[object], absent: Absent) -> NDArray[np.int8]:
    null = MISSING if column.nullable else UNKNOWN
    values[:] = [None if _is_missing(column, value) else value for value in values]
    kinds = {id(None): null}
    if any(value is _ABSENT for value in values):
        row = next(row for row, value in enumerate(values) if value is _ABSENT)
        kinds[id(_ABSENT)] = _absent(column, row, absent)
    return np.array([kinds.get(id(value), OBSERVED) for value in values], np.int8).reshape(len(values))


def _is_missing(column: Modelled, value: object) -> bool:
    """Whether it is a text for a missing value, as files have them, and no kind of the column."""
    if not isinstance(value, str) or len(value) > _LONGEST_MISSING or value.strip() not in MISSING_TEXTS:
        return False
    return not (isinstance(column, CategoryColumn) and value.strip() in column.index)


def _coerced(column: Modelled, values: list[object], told: NDArray[np.bool_], unknown: Unknown) -> Doubles:
    kinds = set(map(type, values)) - {type(None), object}
    if isinstance(column, NumericColumn) and kinds <= {int, float}:
        try:
            numbers = np.array([v if t else 0.0 for v, t in zip(values, told, strict=True)], np.float64)
        except OverflowError:  # an integer beyond all doubles
            numbers = np.array([float(f"{v}") if t else 0.0 for v, t in zip(values, told, strict=True)])
        return _checked(column, numbers, told)
    found = np.zeros(len(values))
    take = _TAKERS[type(column)]
    for row in np.flatnonzero(told).tolist():
        value = values[row]
        if isinstance(value, np.generic):
            value = value.item()
        found[row] = take(column, row, value, unknown)
    return _checked(column, found, told) if isinstance(column, NumericColumn) else found


def _checked(column: NumericColumn, numbers: Doubles, told: NDArray[np.bool_]) -> Doubles:
    """These numbers, if all of them fit."""
    largest = LARGEST_INTEGER if column.integer else LARGEST
    bad = ~(np.abs(numbers) <= largest)  # written so that NaN is refused
    if column.integer:
        bad |= numbers != np.round(numbers)
    if (bad & told).any():
        row = int(np.flatnonzero(bad & told)[0])
        kind = "a whole number" if column.integer else "a finite number"
        raise CellError(column.name, row, f"{kind} of at most {largest:g}", f"{float(numbers[row])!r}")
    return np.where(told, numbers, 0.0)


def _came(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    return f"{type(value).__name__} {quoted(value)}"


def _number(column: NumericColumn, row: int, value: object, unknown: Unknown) -> float:
    wanted = "a whole number" if column.integer else "a number"
    if isinstance(value, str):
        try:
            return number_of(value, column.notation)
        except ValueError:
            pass
    elif isinstance(value, int | float) and not isinstance(value, bool | Seconds):
        try:
            return float(value)
        except OverflowError:
            return float("inf")
    raise CellError(column.name, row, wanted, _came(value))


def _category(column: CategoryColumn, row: int, value: object, unknown: Unknown) -> float:
    index = column.index.get(value) if isinstance(value, str) else None
    if index is not None:
        return index
    text = text_of(value)
    if text is None:
        raise CellError(column.name, row, "a category", _came(value))
    if text in column.index:
        return column.index[text]
    if unknown == "rest" and column.rest:
        return len(column.categories) - 1
    few = ", ".join(quoted(category) for category in column.categories[:3])
    more = ", …" if len(column.categories) > 3 else ""
    rest = "" if unknown == "refuse" else ", which has none for the rest"
    wanted = f"one of the {len(column.categories)} categories of the data ({few}{more}){rest}"
    raise CellError(column.name, row, wanted, quoted(text))


def _boolean(column: BooleanColumn, row: int, value: object, unknown: Unknown) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float) and value in (0, 1):
        return float(value)
    words = tuple(word.lower() for word in column.words)
    if isinstance(value, str) and value.strip().lower() in words:
        return float(words.index(value.strip().lower()))
    raise CellError(column.name, row, f"true or false (as text {' or '.join(column.words)})", _came(value))


def _timestamp(column: TimestampColumn, row: int, value: object, unknown: Unknown) -> float:
    example = "2026-11-27" if column.resolution == 86400 else "2026-11-27T09:30:00"
    if isinstance(value, Seconds):
        return float(value)
    wanted = " or ".join([f"an ISO 8601 date or time such as {example}", *column.written])
    if not isinstance(value, str | date):
        raise CellError(column.name, row, wanted, _came(value))
    try:
        seconds, zoned = moment_of(value, column.written)
    except (ValueError, OverflowError):
        raise CellError(column.name, row, wanted, _came(value)) from None
    if zoned != (column.zone == "utc"):
        end = " with its zone, as in 09:30:00Z" if column.zone == "utc" else " without a zone"
        raise CellError(column.name, row, f"a time{end}, as the data have it", quoted(value))
    return seconds


_TAKERS: dict[type[Any], Any] = {
    NumericColumn: _number,
    CategoryColumn: _category,
    BooleanColumn: _boolean,
    TimestampColumn: _timestamp,
}
