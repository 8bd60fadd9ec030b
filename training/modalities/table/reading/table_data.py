"""A table ready for training: its schema, its cells, and which rows are for what."""

from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from serving.bundle import quoted
from serving.bundle.tables import (
    BooleanColumn,
    CategoryColumn,
    Cells,
    Modelled,
    NumericColumn,
    Schema,
    TimestampColumn,
)
from training.modalities.table.reading.build_schema import build_schema, cells_of, labelled
from training.modalities.table.reading.fitted_schema import fitted_schema
from training.modalities.table.reading.infer import parsed
from training.modalities.table.reading.parsed_columns import (
    Parsed,
    Unfit,
    as_booleans,
    as_kinds,
    as_numbers,
    as_times,
)
from training.modalities.table.reading.schema_overrides import ColumnOverride, Overrides
from training.modalities.table.reading.sources.frames import Frame, read_frame
from training.modalities.table.reading.sources.raw_columns import RawColumn
from training.training_error import TrainingError

Rows = NDArray[np.int64]
Source = str | PathLike[str] | Any
"""A path, a frame of pandas or polars, an Arrow table."""

LEAST_ROWS: Final = 20


class Split(NamedTuple):
    """Indices of rows, each in one of the three."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True, eq=False)
class TableData:
    """n rows of a table."""

    name: str
    schema: Schema
    cells: Cells
    sha256: str
    """Of the file, or of what a frame holds."""
    words: dict[str, str] = field(default_factory=dict)
    """Of columns: what was done, or why they are left out."""
    notes: tuple[str, ...] = ()
    """Of the whole."""

    def split(self, val_fraction: float, test_fraction: float, seed: int) -> Split:
        """By seed, the label in the same shares in each where there is one.

        Rows that are equal in all modelled cells are all in one of the three, so that no row of the test was
        seen in training.

        Raises:
            TrainingError: one of the three would be empty.
        """
        return split_rows(self.schema, self.cells, val_fraction, test_fraction, seed)

    def fitted_to(self, rows: Rows) -> Self:
        """The same table, with scales and bins by these rows alone: a model learns nothing of the others."""
        return replace(self, schema=fitted_schema(self.schema, self.cells, self.cells.rows(rows)))


def read_table(source: Source, *, label: str | None = None, overrides: Path | None = None) -> TableData:
    """A table from outside, with types inferred unless ``overrides`` (``--schema``) says them.

    Raises:
        TrainingError: one line that names the file, the column, the row (1 is the first below the names).
    """
    told = Overrides.read(overrides)
    frame = read_frame(source)
    names = {column.name for column in frame.columns}
    told.check_names(names)
    if label is not None and label not in names:
        few = ", ".join(column.name for column in frame.columns[:8])
        raise TrainingError(f"{frame.where}: --label {quoted(label)}: want a column of it ({few} …)")
    if frame.rows < LEAST_ROWS:
        raise TrainingError(f"{frame.where}: want at least {LEAST_ROWS} rows, came {frame.rows}")
    columns = [_parsed(frame, column, told, label) for column in frame.columns]
    schema = build_schema(frame.where, columns, told, label)
    by_name = {column.name: column for column in columns}
    cells = cells_of(frame.where, schema, by_name, frame.rows)
    words = {column.name: column.words for column in columns if column.words}
    words.update({c.name: f"left out: {c.words}" for c in columns if c.type == "ignore"})
    return TableData(frame.name, schema, cells, frame.sha256, words, frame.words)


def _parsed(frame: Frame, column: RawColumn, told: Overrides, label: str | None) -> Parsed:
    override = told.of(column.name)
    try:
        found = parsed(column, override, decimal_comma=frame.decimal_comma)
        if column.name == label:
            found = labelled(frame.where, column.without(frozenset(override.missing)), found)
    except Unfit as unfit:
        raise TrainingError(f"{frame.where}: {unfit}") from None
    return found


def read_with_schema(source: Source, schema: Schema, *, overrides: Path | None = None) -> TableData:
    """A table read by the schema of another one, or of itself: the same file gives the same cells again.

    Columns of which the schema knows nothing are not looked at. ``overrides`` are those of the first reading:
    texts for missing cells and forms of times are no part of a schema. A category never seen is one of the
    rest, where there is a rest.

    Raises:
        TrainingError: a column is missing, or a cell does not fit.
    """
    told = Overrides.read(overrides)
    frame = read_frame(source)
    raw = {column.name: column for column in frame.columns}
    columns = {}
    for column in schema.modelled:
        if column.name not in raw:
            raise TrainingError(f"{frame.where}: want a column {quoted(column.name)}, as the schema has it")
        override = told.of(column.name)
        try:
            columns[column.name] = _as(
                column, raw[column.name].without(frozenset(override.missing)), override, frame
            )
        except Unfit as unfit:
            raise TrainingError(f"{frame.where}: {unfit}") from None
    cells = cells_of(frame.where, schema, columns, frame.rows)
    return TableData(frame.name, schema, cells, frame.sha256, notes=frame.words)


def _as(column: Modelled, raw: RawColumn, override: ColumnOverride, frame: Frame) -> Parsed:
    if not raw.told.any():
        return Parsed(raw.name, "category", raw.told, np.zeros(len(raw.told)))
    if isinstance(column, CategoryColumn):
        return as_kinds(raw)
    if isinstance(column, BooleanColumn):
        return as_booleans(raw, column.words)
    if isinstance(column, TimestampColumn):
        found = as_times(raw, override.format)
        if found.zoned != (column.zone == "utc"):
            wanted = "times with a zone" if column.zone == "utc" else "times without a zone"
            raise Unfit(raw, int(raw.told.argmax()), f"{wanted}, as the schema has it", "others")
        return found
    assert isinstance(column, NumericColumn)
    found = as_numbers(raw, decimal_comma=frame.decimal_comma)
    if column.integer and not found.integer:
        row = int((found.values != np.round(found.values)).argmax())
        raise Unfit(raw, row, "a whole number, as the schema has it", f"{float(found.values[row])!r}")
    return found


def split_rows(schema: Schema, cells: Cells, val_fraction: float, test_fraction: float, seed: int) -> Split:
    """See ``TableData.split``."""
    group_of, sizes, strata = _groups(schema, cells)
    part = np.zeros(len(sizes), np.int64)
    random = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        groups = random.permutation(np.flatnonzero(strata == stratum))
        # a row that is there so often would be a split by itself: it is for training
        quota = 0.5 * min(val_fraction, test_fraction) * sizes[groups].sum()
        groups = groups[(sizes[groups] == 1) | (sizes[groups] <= quota)]
        if not len(groups):
            continue
        middle = (np.cumsum(sizes[groups]) - sizes[groups] / 2) / sizes[groups].sum()
        held_out = np.where(middle < test_fraction, 2, 1)
        part[groups] = np.where(middle < test_fraction + val_fraction, held_out, 0)
    rows = part[group_of]
    train, validation, test = (np.flatnonzero(rows == place) for place in range(3))
    for name, fraction, came in (
        ("training", 1 - val_fraction - test_fraction, train),
        ("validation", val_fraction, validation),
        ("test", test_fraction, test),
    ):
        if fraction > 0 and not len(came):
            raise TrainingError(
                f"{name}: want rows for it, came none: of {len(cells)} rows {len(sizes)} differ"
            )
    return Split(train, validation, test)


def _groups(schema: Schema, cells: Cells) -> tuple[Rows, Rows, Rows]:
    """[n] the group of equal rows that each is in; of each group its size, and the value of its label."""
    together = np.ascontiguousarray(np.concatenate([cells.values, cells.states], axis=1))
    keys = together.view([("", np.void, together.shape[1] * together.itemsize)]).reshape(-1)
    _, first, group_of, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    strata = np.zeros(len(first), np.int64)
    if schema.label is not None:
        place = schema.place[schema.label]
        strata = np.where(cells.states[first, place] == 1, cells.values[first, place], -1).astype(np.int64)
    return group_of.reshape(-1), sizes, strata
