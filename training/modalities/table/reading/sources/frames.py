"""Tables as users have them: files of text, Parquet and Arrow, frames of pandas and polars."""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import feather, parquet

from serving.bundle import quoted
from serving.bundle.tables import MOST_COLUMNS
from training.modalities.table.reading.sources.csv_reading import read_csv, unpacked
from training.modalities.table.reading.sources.raw_columns import RawColumn, from_arrow, from_objects
from training.modalities.table.table_names import ARROW, PARQUET, TEXT, kind_of_name
from training.training_error import TrainingError

WANTED: Final = "a .csv, .tsv, .parquet, .arrow or .feather file"
_LONGEST_NAME: Final = 128


@dataclass(frozen=True, eq=False)
class Frame:
    """All columns of a source, of equal length."""

    name: str
    where: str
    """How errors call it."""
    columns: tuple[RawColumn, ...]
    rows: int
    sha256: str
    """Of the file, or of a frame's columns."""
    decimal_comma: bool = False
    """Whether 1,234 is rather a number below 2: the file has another separator than the comma."""
    words: tuple[str, ...] = ()
    """What was done to read it, where that is not plain."""


def read_frame(source: str | os.PathLike[str] | Any) -> Frame:
    """That of a path, or of a frame of pandas or polars, or of an Arrow table.

    Raises:
        TrainingError: one line that names the file, and the column or record.
    """
    if not isinstance(source, str | os.PathLike):
        return _from_python(source)
    path = Path(source)
    kind = kind_of_name(path)
    if kind not in (*TEXT, *PARQUET, *ARROW):
        raise TrainingError(f"--data {path}: want {WANTED}; came {path.suffix or 'a name without an ending'}")
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise TrainingError(f"--data {path}: {exc.strerror or exc}") from None
    sha256 = hashlib.sha256(content).hexdigest()
    content = unpacked(path, content)
    words: list[str] = []
    comma = False
    if kind in TEXT:
        table, separator, words = read_csv(path, content, TEXT[kind])
        comma = separator != ","
    else:
        table = _binary(path, kind, content)
    where = f"--data {path}"
    columns = _columns(where, table)
    return Frame(path.name.split(".")[0], where, columns, len(table), sha256, comma, tuple(words))


def _binary(path: Path, kind: str, content: bytes) -> pa.Table:
    try:
        if kind in PARQUET:
            return parquet.read_table(io.BytesIO(content))
        try:
            return feather.read_table(io.BytesIO(content))
        except pa.ArrowException:
            return pa.ipc.open_stream(content).read_all()
    except (pa.ArrowException, OSError) as exc:
        reason = " ".join(str(exc).split())[:150]
        raise TrainingError(f"--data {path}: want a {kind} file, came another: {reason}") from None


def _columns(where: str, table: pa.Table) -> tuple[RawColumn, ...]:
    names = _names(where, table.column_names)
    if not len(table):
        raise TrainingError(f"{where}: want rows, came none")
    try:
        return tuple(from_arrow(name, column) for name, column in zip(names, table.columns, strict=True))
    except pa.ArrowException as exc:
        raise TrainingError(f"{where}: {' '.join(str(exc).split())[:200]}") from None


def _names(where: str, names: list[str]) -> list[str]:
    if not 1 <= len(names) <= MOST_COLUMNS:
        raise TrainingError(f"{where}: want 1 to {MOST_COLUMNS} columns, came {len(names)}")
    clean = ["".join(c for c in " ".join(name.split()) if c.isprintable()) for name in names]
    for place, name in enumerate(clean):
        if not 1 <= len(name) <= _LONGEST_NAME:
            wanted = f"want a name of 1 to {_LONGEST_NAME} letters"
            raise TrainingError(f"{where}: column {place + 1}: {wanted}, came {quoted(name)}")
    first: dict[str, int] = {}
    for place, name in enumerate(clean):
        if name in first:
            places = f"columns {first[name] + 1} and {place + 1}"
            raise TrainingError(f"{where}: {places}: want a name for each, came {quoted(name)} for both")
        first[name] = place
    return clean


def _from_python(frame: Any) -> Frame:
    if isinstance(frame, pa.Table):
        columns, rows = _columns("frame", frame), len(frame)
    elif type(frame).__module__.split(".")[0] == "polars":
        arrow = frame.to_arrow()
        columns, rows = _columns("frame", arrow), len(arrow)
    elif type(frame).__module__.split(".")[0] == "pandas":
        columns, rows = _from_pandas(frame), len(frame)
    else:
        wanted = "want a path, a frame of pandas or polars or an Arrow table"
        raise TrainingError(f"data: {wanted}, came {type(frame).__name__}")
    return Frame("frame", "frame", columns, rows, _digest(columns))


def _from_pandas(frame: Any) -> tuple[RawColumn, ...]:
    """The columns; the index is none of them."""
    names = _names("frame", [str(name) for name in frame.columns])
    if not len(frame):
        raise TrainingError("frame: want rows, came none")
    found = []
    for place, name in enumerate(names):
        series = frame.iloc[:, place]
        try:
            array = pa.Array.from_pandas(series)
        except (pa.ArrowException, OverflowError):  # objects of several types
            found.append(from_objects(name, series.tolist()))
        else:
            chunks = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
            found.append(from_arrow(name, chunks))
    return tuple(found)


def _digest(columns: tuple[RawColumn, ...]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        head = repr((column.name, column.kind, column.zoned, column.texts))
        digest.update(head.encode())
        for array in (column.told, column.values, column.codes):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
