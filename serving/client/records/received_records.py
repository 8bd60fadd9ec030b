"""Records as they come from a server. n is the number of rows."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Literal, Self

import numpy as np
from google.protobuf import json_format, struct_pb2
from numpy.typing import NDArray

from serving.client.records.described_table import Table, TableColumn
from serving.pb.vae.v1 import tensors_pb2 as pb

_Unit = Literal["D", "s", "ms", "us"]
_UNITS: tuple[tuple[float, _Unit], ...] = ((86400.0, "D"), (1.0, "s"), (0.001, "ms"))
"""The coarsest unit that holds all times of a resolution in seconds; microseconds hold any."""


@dataclass(frozen=True, eq=False)
class Records:
    """Rows of a table."""

    columns: dict[str, NDArray[Any]]
    """[n] each, in the order of the table: int64, float64, bool, datetime64, or str as objects. A masked
    array (``numpy.ma``) where cells may be missing, in which these are masked."""
    zoned: frozenset[str] = frozenset()
    """Columns whose times are in UTC; others are by the clock on the wall."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each row, of Python's own values; None for missing cells."""
        listed = self.listed().values()
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*listed, strict=True)]

    def listed(self) -> dict[str, list[Any]]:
        """The same values by column."""
        return {name: self._listed(name) for name in self.columns}

    def to_pandas(self) -> Any:
        """A data frame; whole numbers and booleans with missing cells in pandas' own types for them.

        Raises:
            ValueError: pandas is not installed.
        """
        pandas = library("pandas")
        return pandas.DataFrame({name: self._series(pandas, name) for name in self.columns})

    def to_arrow(self) -> Any:
        """An Arrow table.

        Raises:
            ValueError: pyarrow is not installed.
        """
        arrow = library("pyarrow")
        return arrow.table({name: self._array(arrow, name) for name in self.columns})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One after another, of the same columns."""
        first = parts[0]
        columns = {
            name: np.ma.concatenate([part.columns[name] for part in parts])
            if isinstance(column, np.ma.MaskedArray)
            else np.concatenate([part.columns[name] for part in parts])
            for name, column in first.columns.items()
        }
        return cls(columns, first.zoned)

    def _listed(self, name: str) -> list[Any]:
        column = self.columns[name]
        values: list[Any] = np.ma.getdata(column).tolist()
        if name in self.zoned:
            values = [value.replace(tzinfo=UTC) for value in values]
        if not isinstance(column, np.ma.MaskedArray):
            return values
        return [
            None if gone else v for v, gone in zip(values, np.ma.getmaskarray(column).tolist(), strict=True)
        ]

    def _series(self, pandas: Any, name: str) -> Any:
        column, values = self.columns[name], np.ma.getdata(self.columns[name])
        missing = np.ma.getmaskarray(column)
        is_masked = isinstance(column, np.ma.MaskedArray)
        match values.dtype.kind:
            case "i" if is_masked:
                return pandas.Series(pandas.arrays.IntegerArray(values, missing))
            case "b" if is_masked:
                return pandas.Series(pandas.arrays.BooleanArray(values, missing))
            case "f":
                return pandas.Series(np.where(missing, np.nan, values))
            case "M":
                series = pandas.Series(np.where(missing, np.datetime64("NaT"), values))
                return series.dt.tz_localize("UTC") if name in self.zoned else series
            case "O":
                texts = values.copy()
                texts[missing] = None
                return pandas.Series(texts, dtype="str")
        return pandas.Series(values)

    def _array(self, arrow: Any, name: str) -> Any:
        values, missing = np.ma.getdata(self.columns[name]), np.ma.getmaskarray(self.columns[name])
        kind = arrow.string() if values.dtype.kind == "O" else None
        if name in self.zoned:
            kind = arrow.timestamp(np.datetime_data(values.dtype)[0], "UTC")
        return arrow.array(values, kind, mask=missing if missing.any() else None)


NO_RECORDS = Records({})
"""Of a model of other data."""


def library(name: str) -> Any:
    """An optional library. Raises ValueError, saying what to install, where it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"{name}: not installed; want `pip install 'vaeserve[tables]'`") from None


def from_records(messages: Sequence[pb.Records], table: Table) -> Records:
    """Records of several responses, one after another, of a model with this table."""
    described = {column.name: column for column in table.columns}
    parts: dict[str, list[tuple[NDArray[Any], NDArray[np.bool_]]]] = {}
    for message in messages:
        if message.rows:
            for name, description in described.items():
                parts.setdefault(name, []).append(_of_rows(message.rows, description))
        for column in message.columns.columns:
            parts.setdefault(column.name, []).append(_values(column))
    columns, zoned = {}, set()
    for name, found in parts.items():
        description = described.get(name, TableColumn(name, ""))
        values = np.concatenate(_alike(found))
        columns[name] = _typed(values, np.concatenate([missing for _, missing in found]), description)
        if values.dtype.kind == "M" and description.has_zone:
            zoned.add(name)
    return Records(columns, frozenset(zoned))


def _alike(parts: Sequence[tuple[NDArray[Any], NDArray[np.bool_]]]) -> list[NDArray[Any]]:
    """The values of each part; one of which nothing is known takes the type that the others have."""
    told = [values.dtype for values, missing in parts if not missing.all()]
    if not told:
        return [values for values, _ in parts]
    nothing = np.array("", object) if told[0].kind == "O" else np.zeros((), told[0])
    return [np.full(len(values), nothing) if missing.all() else values for values, missing in parts]


def _values(column: pb.Column) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """As they are on the wire, times as datetime64, texts as objects; and which cells are missing."""
    missing = np.array(column.missing, np.bool_)
    match column.WhichOneof("values"):
        case "numbers":
            values: NDArray[Any] = np.array(column.numbers.values, np.float64)
        case "booleans":
            values = np.array(column.booleans.values, np.bool_)
        case "times":
            values = np.array(column.times.microseconds, np.int64).astype("datetime64[us]")
        case _:
            codes = np.array(column.texts.codes, np.int64)
            codes = np.where(missing, 0, codes) if len(missing) else codes
            values = np.array([*column.texts.dictionary, ""], object)[codes]
    return values, missing if len(missing) else np.zeros(len(values), np.bool_)


def _of_rows(
    rows: Sequence[struct_pb2.Struct], column: TableColumn
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The same of objects."""
    values: list[Any] = [json_format.MessageToDict(row.fields[column.name]) for row in rows]
    missing = np.array([value is None for value in values], np.bool_)
    known = [value for value in values if value is not None]
    if column.type == "timestamp":
        found: NDArray[Any] = np.zeros(len(rows), "datetime64[us]")
        found[~missing] = np.array([text.removesuffix("Z") for text in known], found.dtype)
    elif column.type == "boolean" or (known and isinstance(known[0], bool)):
        found = np.array([value is True for value in values], np.bool_)
    elif column.type == "numeric" or (known and isinstance(known[0], int | float)):
        found = np.array([0.0 if value is None else value for value in values], np.float64)
    else:
        found = np.array(["", *("" if value is None else value for value in values)], object)[1:]
    return found, missing


def _typed(values: NDArray[Any], missing: NDArray[np.bool_], column: TableColumn) -> NDArray[Any]:
    """In the type that all values of the column have, whichever of them came."""
    if values.dtype.kind == "f" and (column.integer or _is_whole(column, values[~missing])):
        values = np.where(missing, 0, values).astype(np.int64)
    elif values.dtype.kind == "M":
        unit = next((unit for seconds, unit in _UNITS if column.resolution >= seconds), "us")
        values = values.astype(f"datetime64[{unit}]")
    if column.nullable or missing.any():
        return np.ma.MaskedArray(values, missing)
    return values


def _is_whole(column: TableColumn, values: NDArray[Any]) -> bool:
    """Of a column that the model does not know; identifiers may have come from the caller."""
    is_apart = column.type in ("constant", "identifier")
    return is_apart and bool((np.abs(values) <= 2.0**53).all() and (values == np.round(values)).all())
