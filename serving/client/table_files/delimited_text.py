"""Text files with a separator, read and written some rows at a time. Cells stay text: the server reads them.

The standard library reads them, whether or not pandas is there: a file means the same on every machine.
"""

import bz2
import codecs
import csv
import gzip
import io
import logging
import lzma
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

from serving.client.files import FileError
from serving.client.records.described_table import Table, TableColumn
from serving.errors import quoted

Texts = dict[str, list[str | None]]
"""Columns by name; None where a cell is empty, or says in words that it has no value."""

MISSING_TEXTS: Final = frozenset(
    {"", "?", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "none"}
    | {"<NA>", "#N/A", "#NA", "#N/A N/A", "NaT"}
)
"""Of cells that have no value: those that training reads so."""
_SEPARATORS: Final = (",", ";", "\t", "|")
_OPENERS: Final[dict[str, Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+")
_PIECE: Final = 1 << 20
_NOT_WINDOWS: Final = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
"""That Windows-1252 does not have."""

log = logging.getLogger(__name__)


def is_packed(path: Path) -> bool:
    """Whether it is compressed, by its name."""
    return path.suffix.lower() in _OPENERS


def read_texts(path: Path, table: Table, rows: int) -> Iterator[Texts]:
    """The columns of the file, so many rows at a time; without a name they are "column 1", by their place.

    Raises:
        FileError: naming the file, and the line that does not fit.
    """
    try:
        with _open(path, _encoding(path)) as file:
            yield from _parts(path, file, table, rows)
    except UnicodeDecodeError:
        raise FileError(f"{path}: want text in UTF-8, came another encoding") from None
    except OSError as exc:
        raise FileError(f"{path}: cannot be read: {exc.strerror or exc}") from None
    except (EOFError, lzma.LZMAError) as exc:
        raise FileError(f"{path}: want a whole {path.suffix} file: {exc}") from None


def _open(path: Path, encoding: str) -> IO[str]:
    opener = _OPENERS.get(path.suffix.lower(), open)
    file: IO[str] = opener(path, "rt", encoding=encoding, newline="")
    return file


def _encoding(path: Path) -> str:
    """By a look at all of the file: nothing is sent of one that cannot be read to its end."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_empty, is_utf8, is_windows = True, True, True
    with opener(path, "rb") as file:
        while piece := file.read(_PIECE):
            if is_empty and piece.startswith((b"\xff\xfe", b"\xfe\xff")):
                return "utf-16"
            if b"\0" in piece:
                raise FileError(f"{path}: want text with a separator, came a binary file")
            is_empty = is_empty and not piece.strip(b"\xef\xbb\xbf \t\r\n")
            is_utf8 = is_utf8 and _decodes(decoder, piece)
            is_windows = is_windows and not any(letter in piece for letter in _NOT_WINDOWS)
    is_utf8 = is_utf8 and _decodes(decoder, b"", final=True)
    if is_empty:
        raise FileError(f"{path}: want a table, came an empty file")
    if is_utf8:
        return "utf-8-sig"
    if not is_windows:
        raise FileError(f"{path}: want text in UTF-8, came another encoding")
    log.warning("%s: read as Windows-1252: it is no UTF-8", path)
    return "cp1252"


def _decodes(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(piece, final)
    except UnicodeDecodeError:
        return False
    return True


def _parts(path: Path, file: IO[str], table: Table, rows: int) -> Iterator[Texts]:
    separator = _separator(path, file, table)
    reader = csv.reader(file, delimiter=separator, strict=True)
    described = {column.name: column for column in table.columns}
    names: list[str] = []
    part: list[list[str]] = []
    try:
        names = _names(path, next(reader))
        for row in reader:
            if not row and len(names) > 1:
                continue
            if len(row or [""]) != len(names):
                wanted = f"want {len(names)} cells between {quoted(separator)}, as in the first line"
                raise FileError(f"{path}: line {reader.line_num}: {wanted}, came {len(row)}")
            part.append(row or [""])
            if len(part) == rows:
                yield _columns(names, part, described, separator)
                part = []
    except csv.Error as exc:
        raise FileError(f"{path}: line {reader.line_num}: {exc}") from None
    if part:
        yield _columns(names, part, described, separator)


def _separator(path: Path, file: IO[str], table: Table) -> str:
    """That which finds most of the model's columns in the first line, and of these the most cells."""
    start = file.read(_PIECE)
    file.seek(0)
    known = {column.name for column in table.columns}
    best, most = ",", (-1, -1)
    for separator in ("\t",) if ".tsv" in path.suffixes else _SEPARATORS:
        try:
            first = next(csv.reader(io.StringIO(start, newline=""), delimiter=separator))
        except (csv.Error, StopIteration):
            continue
        found = (len(known.intersection(name.strip() for name in first)), len(first))
        if found > most:
            best, most = separator, found
    return best


def _names(path: Path, first: Sequence[str]) -> list[str]:
    names = [" ".join(name.split()) or f"column {place + 1}" for place, name in enumerate(first)]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FileError(f"{path}: want a name for each column, came {quoted(name)} twice")
        seen.add(name)
    return names


def _columns(
    names: Sequence[str], rows: list[list[str]], described: Mapping[str, TableColumn], separator: str
) -> Texts:
    found: Texts = {}
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        column = described.get(name)
        known = () if column is None else column.categories
        has_commas = separator != "," and column is not None and _has_numbers(column)
        meant: dict[str, str | None] = {}
        for text in dict.fromkeys(cells):
            short = text.strip()
            is_missing = short in MISSING_TEXTS and short not in known
            is_decimal = has_commas and _DECIMAL_COMMA.fullmatch(short)
            meant[text] = None if is_missing else short.replace(",", ".") if is_decimal else text
        found[name] = [meant[cell] for cell in cells]
    return found


def _has_numbers(column: TableColumn) -> bool:
    """A column that follows from another one has a least value if it has numbers."""
    return column.type == "numeric" or (column.type == "derived" and column.least is not None)


class TextWriter:
    """A table as text with commas."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._names: list[str] = []

    def write(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """Rows of Python's own values."""
        if not self._names:
            self._names = list(columns)
            self._writer.writerow(self._names)
        self._writer.writerows(zip(*(map(_text, columns[name]) for name in self._names), strict=True))

    def close(self) -> None:
        """The file stays open."""
        self._file.flush()
        self._file.detach()


def _text(value: Any) -> Any:
    """Times as ISO 8601 has them; others as they are written by themselves."""
    if not hasattr(value, "isoformat"):
        return value
    return value.isoformat().replace("+00:00", "Z")
