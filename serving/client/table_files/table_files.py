"""Tables as files: CSV by the standard library, Parquet and Arrow by pyarrow, some rows at a time."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np

from serving.client.files import FileError
from serving.client.records.described_table import Table, TableColumn
from serving.client.records.received_records import Records, library
from serving.client.table_files.delimited_text import TextWriter, is_packed, read_texts

Columns = Mapping[str, Any]
"""By name: lists of Python's values, or Arrow arrays."""

ROWS: Final = 1 << 16
"""Read, sent and written at a time; a row group of Parquet."""
_TEXT: Final = (".csv", ".tsv", ".tab", ".txt")
_PARQUET: Final = (".parquet", ".pq")
_ARROW: Final = (".arrow", ".feather", ".ipc")
OUT: Final = (".csv", ".parquet")
_TRUTH: Final[dict[str, object]] = {"true": True, "false": False}
_UNNAMED: Final = re.compile(r"column \d+|__index_level_\d+__")


def is_table(path: Path) -> bool:
    """Whether a file of this name is read as a table."""
    return _kind(path) in (*_TEXT, *_PARQUET, *_ARROW)


def _kind(path: Path) -> str:
    return Path(path.stem).suffix.lower() if is_packed(path) else path.suffix.lower()


def read_table(path: Path, table: Table) -> Iterator[Columns]:
    """Its columns, ``ROWS`` at a time.

    Raises:
        FileError: naming the file; ValueError: pyarrow is wanted, and not installed.
    """
    if path.is_dir():
        raise FileError(f"{path}: want a table, came a folder")
    count = 0
    for part in read_texts(path, table, ROWS) if _kind(path) in _TEXT else _of_arrow(path):
        count += 1
        yield part
    if not count:
        raise FileError(f"{path}: want rows, came none")


def for_model(columns: Columns, table: Table) -> Columns:
    """Without those that have no name in the file, such as an index, and are unknown to the model."""
    known = {column.name: column for column in table.columns}
    return {
        name: _sent(known.get(name), values)
        for name, values in columns.items()
        if name in known or not _UNNAMED.fullmatch(name)
    }


def _sent(column: TableColumn | None, values: Any) -> Any:
    """Texts of a boolean column as they may be sent: true and false mean that, whatever the data had."""
    if column is None or column.type != "boolean" or not isinstance(values, list):
        return values
    return [_TRUTH.get(text.strip().lower(), text) if isinstance(text, str) else text for text in values]


def _of_arrow(path: Path) -> Iterator[Columns]:
    arrow = library("pyarrow")
    try:
        path.open("rb").close()  # whose errors are short
        for batch in _batches(arrow, path):
            for start in range(0, len(batch), ROWS):
                part = batch.slice(start, ROWS)
                yield dict(zip(part.schema.names, part.columns, strict=True))
    except OSError as exc:
        raise FileError(f"{path}: cannot be read: {exc.strerror or _first_line(exc)}") from None
    except arrow.ArrowException as exc:
        raise FileError(f"{path}: want a {path.suffix} file, came another: {_first_line(exc)}") from None


def _batches(arrow: Any, path: Path) -> Iterator[Any]:
    if _kind(path) in _PARQUET:
        library("pyarrow.parquet")
        with arrow.parquet.ParquetFile(path) as file:
            _check_names(path, file.schema_arrow.names)
            yield from file.iter_batches(ROWS)
        return
    library("pyarrow.ipc")
    with arrow.memory_map(str(path)) as source:
        try:
            file = arrow.ipc.open_file(source)
        except arrow.ArrowInvalid:
            yield from arrow.ipc.open_stream(source)
            return
        _check_names(path, file.schema.names)
        for place in range(file.num_record_batches):
            yield file.get_batch(place)


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FileError(f"{path}: want a name for each column, came {twice!r} twice")


def _first_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]


class Writer(Protocol):
    """A table that is being written."""

    def write(self, columns: Columns) -> None:
        """Some more rows, of the same columns."""

    def close(self) -> None:
        """There are no more."""


class _ParquetWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self._arrow = library("pyarrow")
        library("pyarrow.parquet")
        self._file = file
        self._writer: Any = None
        self._waiting: list[Any] = []

    def write(self, columns: Columns) -> None:
        rows = self._arrow.table({name: self._array(column) for name, column in columns.items()})
        if self._writer is None:
            self._writer = self._arrow.parquet.ParquetWriter(self._file, rows.schema)
        self._waiting.append(rows.cast(self._writer.schema))
        if sum(map(len, self._waiting)) >= ROWS:
            self._flush()

    def close(self) -> None:
        if self._writer is None:
            return
        try:
            self._flush()
            self._writer.close()
        finally:
            self._writer.is_open = False  # or pyarrow tries again, when the file is closed

    def _array(self, column: Any) -> Any:
        if isinstance(column, self._arrow.Array | self._arrow.ChunkedArray | np.ndarray):
            return column
        return self._arrow.array(column, self._arrow.string())

    def _flush(self) -> None:
        if self._waiting and self._writer is not None:
            self._writer.write_table(self._arrow.concat_tables(self._waiting), row_group_size=2 * ROWS)
            self._waiting = []


class _CsvWriter(TextWriter):
    def write(self, columns: Columns) -> None:
        super().write({name: _python(column) for name, column in columns.items()})


def _python(column: Any) -> Sequence[Any]:
    if isinstance(column, np.ndarray):  # of float32 the shortest text that means it
        return list(column.astype(str) if column.dtype == np.float32 else column.tolist())
    return list(column.to_pylist()) if hasattr(column, "to_pylist") else column


@contextmanager
def table_writer(path: Path) -> Iterator[Writer]:
    """A table that is there once all of it is, and not at all otherwise.

    Raises:
        FileError: it cannot be written; ValueError: pyarrow is wanted, and not installed.
    """
    with whole_file(path) as file:
        writer: Writer = _ParquetWriter(file) if path.suffix == ".parquet" else _CsvWriter(file)
        try:
            yield writer
        except BaseException:
            with suppress(Exception):  # only the first error matters
                writer.close()
            raise
        writer.close()


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file under another name, which gets its own at the end; if that is not reached, none is left."""
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with _ended_in_order():
            try:
                with partial.open("wb") as file:
                    yield file
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as exc:
        raise FileError(f"{path}: cannot be written: {exc.strerror or exc}") from None


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the process as Ctrl-C does, so that what is half done is put away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def columns_of(records: Records, path: Path) -> Columns:
    """Of records, for a table of this name."""
    if path.suffix == ".parquet":
        found = records.to_arrow()
        return dict(zip(found.column_names, found.columns, strict=True))
    return records.listed()
