"""Text files with a separator, read by pyarrow: which encoding, which separator, which lines do not fit."""

import bz2
import csv
import gzip
import io
import lzma
import re
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from serving.bundle import quoted
from serving.bundle.tables import MOST_COLUMNS
from training.training_error import TrainingError

_SAMPLE: Final = 1 << 18
_LONGEST_CELL: Final = 1 << 16
_NUMBER: Final = re.compile(r"[+-]?[\d.,]+([eE][+-]?\d+)?")
_SEPARATORS: Final = (",", ";", "\t", "|")
_OPENERS: Final[dict[str, Any]] = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


def unpacked(path: Path, content: bytes) -> bytes:
    """The content of a compressed file. Raises TrainingError."""
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        return content
    try:
        return bytes(opener(content))
    except (OSError, EOFError, lzma.LZMAError, ValueError) as exc:
        raise TrainingError(f"--data {path}: want a whole {path.suffix} file: {exc}") from None


def read_csv(path: Path, content: bytes, separator: str | None) -> tuple[pa.Table, str, list[str]]:
    """All cells as text, the separator, and words on what was done.

    Raises:
        TrainingError: naming the line that does not fit.
    """
    encoding, words = _encoding(path, content)
    text = content if encoding == "utf-8" else content.decode(encoding).encode()
    text = text.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n") + b"\n"
    sample = text[:_SAMPLE].decode(errors="ignore")
    separator = separator or _separator(sample)
    columns = len(
        next(csv.reader(io.TextIOWrapper(io.BytesIO(text), "utf-8", newline=""), delimiter=separator))
    )
    if columns > MOST_COLUMNS:
        raise TrainingError(f"--data {path}: want at most {MOST_COLUMNS} columns, came {columns}")
    wrong: list[Any] = []

    def refuse(row: Any) -> str:
        wrong.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(text),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, autogenerate_column_names=True, block_size=min(len(text) + 1, 1 << 28)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator,
                newlines_in_values=True,
                ignore_empty_lines=columns > 1,  # in a single column an empty line is a missing cell
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                strings_can_be_null=False, column_types={f"f{place}": pa.string() for place in range(columns)}
            ),
        )
    except pa.ArrowException as exc:
        raise TrainingError(f"--data {path}: {_reason(exc, wrong, separator)}") from None
    return _named(path, table), separator, words


def _named(path: Path, table: pa.Table) -> pa.Table:
    """The first row as names of the columns, the others as rows."""
    names = [" ".join(str(column[0].as_py()).split()) for column in table.columns]
    table = table.slice(1)
    if not len(table):
        raise TrainingError(f"--data {path}: want rows below the names of the columns, came none")
    for name, column in zip(names, table.columns, strict=True):
        if (pc.max(pc.utf8_length(column)).as_py() or 0) > _LONGEST_CELL:
            wanted = f"want cells of at most {_LONGEST_CELL} letters, came a longer one"
            hint = "does an opening quote lack its end?"
            raise TrainingError(f"--data {path}: column {quoted(name)}: {wanted}; {hint}")
    if all(_NUMBER.fullmatch(name) for name in names):
        raise TrainingError(
            f"--data {path}: want the names of the columns in the first line, came numbers alone"
        )
    empty = [
        name == "" and pc.max(pc.utf8_length(c)).as_py() == 0
        for name, c in zip(names, table.columns, strict=True)
    ]
    kept = [place for place, is_empty in enumerate(empty) if not is_empty]  # a separator ends every line
    return table.select(kept).rename_columns([names[place] or f"column {place + 1}" for place in kept])


def _reason(exc: Exception, wrong: list[Any], separator: str) -> str:
    if wrong:
        row = wrong[0]
        line = f"record {row.number}" if row.number else "a record"
        return (
            f"{line}: want {row.expected_columns} cells between {quoted(separator)} as in the first, "
            f"came {row.actual_columns}: {quoted(row.text)}"
        )
    return " ".join(str(exc).split())[:200]


def _encoding(path: Path, content: bytes) -> tuple[str, list[str]]:
    if not content.strip():
        raise TrainingError(f"--data {path}: want a table, came an empty file")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decodes(path, content, "utf-16"), ["read as UTF-16"]
    if b"\0" in content:
        hint = "; save it as CSV" if content.startswith(b"PK") else ""
        raise TrainingError(f"--data {path}: want text, came a file with NUL bytes{hint}")
    try:
        content.decode()
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        _decodes(path, content, "cp1252")
        return "cp1252", [f"read as Windows-1252: line {line} is no UTF-8"]
    return "utf-8", []


def _decodes(path: Path, content: bytes, encoding: str) -> str:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        raise TrainingError(f"--data {path}: want a text file in UTF-8, came another encoding") from None
    return encoding


def _separator(sample: str) -> str:
    """That which gives the most cells, as many in every line; the comma if none does."""
    best, most = ",", 1
    for separator in _SEPARATORS:
        counts = []
        try:
            for row in csv.reader(io.StringIO(sample, newline=""), delimiter=separator):
                if row:
                    counts.append(len(row))
        except csv.Error:
            continue
        whole = counts[:-1] if len(counts) > 2 else counts  # the sample may cut the last line
        if whole and len(set(whole)) == 1 and whole[0] > most:
            best, most = separator, whole[0]
    if most == 1:  # no separator fits all lines: that of the first, so that the other lines are named
        first = sample.splitlines()[0] if sample.splitlines() else ""
        best = max(_SEPARATORS, key=first.count)
    return best
