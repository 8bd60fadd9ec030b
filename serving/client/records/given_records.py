"""Records as callers have them, recognised without importing the libraries they come from."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from google.protobuf import struct_pb2

from serving.client.records.packed_column import ABSENT, PackedColumn, packed
from serving.client.records.received_records import Records
from serving.errors import quoted
from serving.pb.vae.v1 import tensors_pb2 as pb

RecordRows: TypeAlias = Any
"""Records: a list of dictionaries, a row each; a dictionary of columns, lists or arrays; one dictionary of
values, for one record; ``Records`` as they came from a call; a frame of pandas or polars; an Arrow table."""
Unknown = Literal["refuse", "rest"]
Absent = Literal["refuse", "unknown", "missing"]

_WANTED = (
    "want a list of dictionaries, a dictionary of columns, a frame of pandas or polars, or an Arrow table"
)
_UNKNOWN = {"refuse": pb.UNKNOWN_CATEGORIES_REFUSE, "rest": pb.UNKNOWN_CATEGORIES_REST}
_ABSENT = {
    None: pb.ABSENT_COLUMNS_UNSPECIFIED,
    "refuse": pb.ABSENT_COLUMNS_REFUSE,
    "unknown": pb.ABSENT_COLUMNS_UNKNOWN,
    "missing": pb.ABSENT_COLUMNS_MISSING,
}


class GivenRecords:
    """Records to be sent, some rows at a time."""

    field = "records"

    def __init__(
        self,
        records: RecordRows,
        name: str = "records",
        unknown: Unknown = "refuse",
        absent: Absent | None = None,
    ) -> None:
        """Raises ValueError, naming column and row, for what is no table."""
        if unknown not in _UNKNOWN:
            raise ValueError(f"unknown: want one of {', '.join(_UNKNOWN)}, came {unknown!r}")
        if absent not in _ABSENT:
            raise ValueError(f"absent: want one of {', '.join(filter(None, _ABSENT))}, came {absent!r}")
        self._unknown, self._absent = _UNKNOWN[unknown], _ABSENT[absent]
        self._columns: list[PackedColumn] = []
        try:
            self._take(records)
        except ValueError as exc:
            raise ValueError(f"{name}: {exc}") from None

    def __len__(self) -> int:
        return len(self._columns[0]) if self._columns else 0

    def message(self, rows: slice = slice(None)) -> pb.Records:
        """These rows."""
        if any(column.kind == "mixed" for column in self._columns):
            listed = zip(*(column.listed(rows) for column in self._columns), strict=True)
            names = [column.name for column in self._columns]
            structs = [_struct(names, values) for values in listed]
            return pb.Records(rows=structs, unknown=self._unknown, absent=self._absent)
        columns = pb.Columns(columns=[column.message(rows) for column in self._columns])
        return pb.Records(columns=columns, unknown=self._unknown, absent=self._absent)

    def _take(self, records: RecordRows) -> None:
        library = type(records).__module__.partition(".")[0]
        if isinstance(records, Records):
            self._columns = [
                packed(name, column, zoned=name in records.zoned) for name, column in records.columns.items()
            ]
        elif library == "pandas" and hasattr(records, "iloc") and hasattr(records, "columns"):
            self._columns = [
                _of_pandas(_named(name), records.iloc[:, at]) for at, name in enumerate(records.columns)
            ]
        elif library == "pyarrow" and hasattr(records, "column_names"):
            self._columns = [
                _of_arrow(name, column)
                for name, column in zip(records.column_names, records.columns, strict=True)
            ]
        elif library == "polars" and hasattr(records, "get_columns"):
            self._columns = [packed(column.name, column.to_list()) for column in records.get_columns()]
        elif isinstance(records, Mapping):
            self._columns = _of_mapping(records)
        elif isinstance(records, Sequence) and not isinstance(records, str | bytes):
            self._take_rows(records)
        else:
            raise ValueError(f"{_WANTED}, came {type(records).__name__}")
        _check_columns(self._columns)

    def _take_rows(self, rows: Sequence[Mapping[str, object]]) -> None:
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise ValueError(
                    f"row {number}: want a dictionary of columns and their values, came {_kind(row)}"
                )
        names = dict.fromkeys(name for row in rows for name in row)
        self._columns = [packed(_named(name), [row.get(name, ABSENT) for row in rows]) for name in names]


def _check_columns(columns: list[PackedColumn]) -> None:
    seen: set[str] = set()
    for column in columns:
        if column.name in seen:
            raise ValueError(f"column {quoted(column.name)}: want each column once, came it twice")
        seen.add(column.name)
        if len(column) != len(columns[0]):
            first = f"{len(columns[0])} values, as in column {quoted(columns[0].name)}"
            raise ValueError(f"column {quoted(column.name)}: want {first}, came {len(column)}")


def _of_mapping(records: Mapping[Any, Any]) -> list[PackedColumn]:
    """Of columns, or of one record."""
    many = {name: _many(values) for name, values in records.items()}
    if any(many.values()) and not all(many.values()):
        single = next(name for name, is_many in many.items() if not is_many)
        raise ValueError(
            f"column {quoted(single)}: want a list or array as of the others, came {_kind(records[single])}"
        )
    found = []
    for name, values in records.items():
        is_series = type(values).__module__.partition(".")[0] == "pandas" and hasattr(values, "dtype")
        if is_series and hasattr(values, "iloc"):
            found.append(_of_pandas(_named(name), values))
        elif hasattr(values, "to_pylist"):
            found.append(_of_arrow(_named(name), values))
        elif many[name]:
            found.append(packed(_named(name), values if isinstance(values, np.ndarray) else list(values)))
        else:
            found.append(packed(_named(name), [values]))
    return found


def _many(values: object) -> bool:
    """Whether these are the values of a column."""
    if isinstance(values, np.ndarray):
        return values.ndim > 0
    return (
        hasattr(values, "__len__")
        and hasattr(values, "__iter__")
        and not isinstance(values, str | bytes | Mapping)
    )


def _named(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"column {quoted(name)}: want text as its name, came {_kind(name)}")
    return name


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _of_pandas(name: str, series: Any) -> PackedColumn:
    """Also of its own types, in which cells may be missing."""
    dtype = series.dtype
    if hasattr(dtype, "categories"):
        return _of_categories(name, np.asarray(series.cat.codes), series.cat.categories.tolist())
    if zoned := getattr(dtype, "tz", None) is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(series.dtype, np.dtype) and series.dtype.kind != "O":
        return packed(name, series.to_numpy(), zoned=zoned)
    if dtype.kind in "iuf" and not series.isna().any():
        return packed(name, series.to_numpy(dtype=np.dtype(f"{dtype.kind}8")))
    return packed(name, series.tolist())


def _of_arrow(name: str, column: Any) -> PackedColumn:
    if str(column.type).startswith("dictionary"):
        column = column.cast(column.type.value_type)
    kind = str(column.type)
    is_array = kind.startswith(("timestamp", "date", "int", "uint", "float", "double", "halffloat"))
    if not is_array or ("int" in kind and column.null_count):  # numpy would round large whole numbers
        return packed(name, column.to_pylist())
    return packed(name, np.asarray(column), zoned=getattr(column.type, "tz", None) is not None)


def _of_categories(name: str, codes: np.ndarray[Any, Any], categories: list[Any]) -> PackedColumn:
    if all(isinstance(category, str) for category in categories):
        return PackedColumn.of_texts(name, codes, categories)
    return packed(name, [None if code < 0 else categories[code] for code in codes.tolist()])


def _struct(names: Sequence[str], values: Sequence[Any]) -> struct_pb2.Struct:
    found = struct_pb2.Struct()
    for name, value in zip(names, values, strict=True):
        if value is None:
            found.fields[name].null_value = struct_pb2.NULL_VALUE
        elif isinstance(value, bool):
            found.fields[name].bool_value = value
        elif isinstance(value, int | float):
            found.fields[name].number_value = value
        elif value is not ABSENT:
            found.fields[name].string_value = value
    return found
