"""A column as it was read, before anything is inferred: texts, numbers, booleans or times; n rows of them."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from serving.bundle.tables import MISSING_TEXTS, text_of

Doubles = NDArray[np.float64]
Told = NDArray[np.bool_]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RawColumn:
    """Texts are kept once each, ``codes`` says which a row has; other values are an array of n."""

    name: str
    kind: Literal["text", "number", "boolean", "time", "other"]
    told: Told
    """[n] whether there is a value."""
    values: Doubles
    """[n] numbers, 0 or 1, seconds since 1970; 0 where nothing is told, and everywhere for texts."""
    codes: Codes
    """[n] index of the text, -1 where nothing is told."""
    texts: tuple[str, ...] = ()
    zoned: bool = False
    """Of times: whether they have a time zone."""
    whole: bool = False
    """Of numbers: whether the source has an integer type."""
    came: str = ""
    """The type in the source, where it is none of these."""

    @classmethod
    def of_texts(
        cls, name: str, texts: list[str], codes: Codes, missing: frozenset[str] = MISSING_TEXTS
    ) -> Self:
        """Texts as they are written: spaces around them are taken off, those for a missing value found."""
        clean: dict[str, int] = {}
        moved = []
        for text in texts:
            short = text_of(text) or ""
            moved.append(-1 if short in missing else clean.setdefault(short, len(clean)))
        codes = np.array([*moved, -1], np.int64)[codes]
        return cls(name, "text", codes >= 0, np.zeros(len(codes)), codes, tuple(clean))

    def as_texts(self) -> Self:
        """The same with every value written out, as a category has it."""
        if self.kind == "text":
            return self
        numbers, where = np.unique(self.values, return_inverse=True)
        if self.kind == "boolean":
            texts = ["True" if value else "False" for value in numbers.tolist()]
        else:
            texts = [text_of(value) or "" for value in numbers.tolist()]
        codes = np.where(self.told, where.reshape(-1), -1)
        return type(self).of_texts(self.name, texts, codes, frozenset())

    def without(self, missing: frozenset[str]) -> Self:
        """The same with these texts missing as well."""
        if self.kind != "text" or not missing.intersection(self.texts):
            return self
        return type(self).of_texts(self.name, list(self.texts), self.codes, missing | MISSING_TEXTS)


def from_arrow(name: str, column: pa.ChunkedArray) -> RawColumn:
    """Raises pyarrow.ArrowException for what Arrow itself cannot convert."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    told = np.asarray(column.is_valid())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _texts(name, column)
    if pa.types.is_boolean(kind):
        return _of(name, "boolean", column.fill_null(False).cast(pa.float64()), told)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _numbers(name, column, told)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        micro = (
            column.cast(pa.timestamp("us", "UTC" if zoned else None), safe=False)
            .cast(pa.int64())
            .fill_null(0)
        )
        return _of(name, "time", np.asarray(micro) / 1e6, told, zoned=zoned)
    if pa.types.is_null(kind):
        return _of(name, "text", np.zeros(len(column)), np.zeros(len(column), np.bool_))
    return _of(name, "other", np.zeros(len(column)), told, came=str(kind))


def _numbers(name: str, column: pa.ChunkedArray, told: Told) -> RawColumn:
    whole = pa.types.is_integer(column.type)
    # beyond 2^53 neighbours become one; such columns are told apart as texts
    values = np.asarray(column.cast(pa.float64(), safe=False).fill_null(0.0))
    if whole and np.abs(values).max(initial=0) >= 2.0**53:
        return _texts(name, column.cast(pa.string()))
    told = told & ~np.isnan(values)
    return _of(name, "number", np.where(told, values, 0.0), told, whole=whole)


def _texts(name: str, column: pa.ChunkedArray) -> RawColumn:
    encoded = pc.dictionary_encode(column.cast(pa.large_string())).combine_chunks()
    codes = np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)
    return RawColumn.of_texts(name, encoded.dictionary.to_pylist(), codes)


def _of(name: str, kind: Any, values: Any, told: Told, **more: Any) -> RawColumn:
    values = np.asarray(values, np.float64)
    return RawColumn(name, kind, told, values, np.full(len(values), -1, np.int64), **more)


def from_objects(name: str, values: list[object]) -> RawColumn:
    """A column of mixed Python objects: each as a text; what has no text is of kind other."""
    clean: list[str | None] = []
    for value in values:
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        text = None if missing else text_of(value)
        if text is None and not missing:
            every = np.ones(len(values), np.bool_)
            return _of(name, "other", np.zeros(len(values)), every, came=type(value).__name__)
        clean.append(text)
    return _texts(name, pa.chunked_array([pa.array(clean, pa.large_string())]))
