"""Values of a derived column, and what they say of the column that it follows from. n is the number of rows.

A null says nothing: whoever fills the holes of a table has them where the data had none.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.apart.apart_kinds import DerivedColumn
from serving.bundle.tables.cells import MISSING, OBSERVED, UNKNOWN, CellError, Cells
from serving.bundle.tables.column_kinds import BooleanColumn, CategoryColumn
from serving.bundle.tables.table_schema import Schema
from serving.bundle.tables.written.timestamps import Seconds
from serving.bundle.tables.written.value_text import MISSING_TEXTS, text_of
from serving.bundle.tables.written.written_numbers import number_of
from serving.bundle.tables.written.written_times import moment_of
from serving.errors import quoted

Codes = NDArray[np.intp]
"""[n] which of the different values of a column; NOT_TOLD or STRANGE."""
Rows = NDArray[np.bool_]
"""[n]"""

NOT_TOLD: Final = -1
STRANGE: Final = -2
"""A value that the data did not have."""


class Disagreement(Exception):
    """A row whose value does not follow, and what was wanted."""

    def __init__(self, row: int, wanted: str) -> None:
        super().__init__(row, wanted)
        self.row, self.wanted = row, wanted


class Lookup:
    """Of one derived column."""

    def __init__(self, schema: Schema, column: DerivedColumn) -> None:
        self.column, self.place = column, schema.place[column.of]
        source = schema.modelled[self.place]
        assert isinstance(source, CategoryColumn | BooleanColumn)
        self.source = source
        different = dict.fromkeys(_key(column, v) for v in (*column.values, column.missing) if v is not None)
        self._index = {key: code for code, key in enumerate(different)}
        self._of_category = np.array([self.code(value) for value in column.values], np.intp)
        self._of_missing = self.code(column.missing)

    @cached_property
    def _owner(self) -> Codes:
        """[different values + 2] the category that alone has it, -1 of none; the last two of no value."""
        owner = np.full(len(self._index) + 2, -1, np.intp)
        codes, first, counts = np.unique(self._of_category, return_index=True, return_counts=True)
        owner[codes] = np.where(counts == 1, first, -1)
        owner[[self._of_missing, NOT_TOLD, STRANGE]] = -1
        return owner

    def code(self, value: object) -> int:
        if isinstance(value, np.generic):
            value = value.item()
        if value is None:
            return NOT_TOLD
        try:
            code = self._index.get(_key(self.column, value), STRANGE)
        except (ValueError, OverflowError):
            code = STRANGE
        if code == STRANGE and isinstance(value, str) and value.strip() in MISSING_TEXTS:
            return NOT_TOLD
        return code

    def codes(self, values: Sequence[object]) -> Codes:
        return np.array([self.code(value) for value in values], np.intp).reshape(len(values))

    def owners(self, codes: Codes) -> Codes:
        """[n] the category that alone has the value, -1 where there is none."""
        return self._owner[codes]

    def category(self, index: int) -> str | bool:
        return self.source.categories[index] if isinstance(self.source, CategoryColumn) else bool(index)

    def fill(self, cells: Cells, codes: Codes) -> None:
        """Unknown cells of the source become what alone has the value."""
        values, states = cells.values[:, self.place], cells.states[:, self.place]
        owners = self.owners(codes)
        found = (states == UNKNOWN) & (owners >= 0)
        values[found], states[found] = owners[found], OBSERVED

    def check(self, cells: Cells, codes: Codes, absent: Rows) -> None:
        """``absent``: rows where nothing came of the source, so that a value need only be one of the data's.

        Raises:
            Disagreement: for the first row whose value does not follow from the cell of the source.
        """
        values, states = cells.values[:, self.place], cells.states[:, self.place]
        wanted = np.where(states == MISSING, self._of_missing, codes)
        wanted = np.where(states == OBSERVED, self._of_category[values.astype(np.intp)], wanted)
        free = (codes == NOT_TOLD) | (absent & (states != OBSERVED))
        bad = (codes == STRANGE) | ((codes != wanted) & ~free)
        if bad.any():
            row = int(bad.argmax())
            raise Disagreement(row, self._wanted(int(values[row]), int(states[row])))

    def _wanted(self, category: int, state: int) -> str:
        column, of = self.column, f"column {quoted(self.column.of)}"
        if state == OBSERVED:
            return f"{_shown(column.values[category])}, as {of} is {_shown(self.category(category))}"
        if state == MISSING:
            return f"{_shown(column.missing)}, as {of} is missing"
        few = list(dict.fromkeys(value for value in column.values if value is not None))
        more = ", …" if len(few) > 3 else ""
        return f"a value that follows from {of} ({', '.join(map(_shown, few[:3]))}{more})"


@dataclass(frozen=True, eq=False)
class Told:
    """What came of a derived column, and of the one that it follows from."""

    lookup: Lookup
    codes: Codes
    came: Callable[[int], object]
    """The value of a row."""
    absent: Rows
    """Whether nothing came of the source, not even a null."""


def settle(cells: Cells, told: Sequence[Told]) -> None:
    """Unknown cells of sources become what derived ones say; then all must agree.

    Raises:
        CellError: naming both columns and the row.
    """
    for one in told:
        one.lookup.fill(cells, one.codes)
    for one in told:
        try:
            one.lookup.check(cells, one.codes, one.absent)
        except Disagreement as exc:
            came = _shown(one.came(exc.row))
            raise CellError(one.lookup.column.name, exc.row, exc.wanted, came) from None


def looked_up(schema: Schema, column: DerivedColumn, cells: Cells) -> list[object]:
    """[n] its values; None where the source is unknown."""
    place = schema.place[column.of]
    states, values = cells.states[:, place], cells.values[:, place]
    table = [*column.values, column.missing, None]
    count = len(column.values)
    index = np.where(states == OBSERVED, values, np.where(states == MISSING, count, count + 1))
    return [table[i] for i in index.astype(np.intp).tolist()]


def _shown(value: object) -> str:
    return "null" if value is None else quoted(value) if isinstance(value, str) else str(value)


def _key(column: DerivedColumn, value: object) -> Hashable:
    """The same for all ways to write a value. Raises ValueError or OverflowError for what is none."""
    if column.kind == "category":
        return text_of(value)
    if column.kind == "timestamp":
        if not isinstance(value, str | date | Seconds):
            raise ValueError
        return round(value if isinstance(value, Seconds) else moment_of(value, column.written)[0], 6)
    if isinstance(value, Seconds):
        raise ValueError
    if column.kind == "boolean":
        return _truth(column, value)
    if isinstance(value, str):
        return number_of(value, column.notation)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return float(value)


def _truth(column: DerivedColumn, value: object) -> bool:
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if not isinstance(value, str):
        raise ValueError
    return bool([word.lower() for word in column.words].index(value.strip().lower()))
