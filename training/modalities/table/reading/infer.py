"""What a column is, by its values: numbers, times, kinds, one value, or one of its own for every row."""

import re
from dataclasses import replace
from typing import Final

import numpy as np

from serving.bundle.tables import ConstantColumn, IdentifierColumn
from serving.bundle.tables.column_kinds import FIRST_SECOND, LARGEST_INTEGER, LAST_SECOND
from serving.bundle.tables.written.written_numbers import Notation
from training.modalities.table.reading.number_texts import are_codes, notation_of
from training.modalities.table.reading.parsed_columns import (
    Parsed,
    Unfit,
    as_booleans,
    as_kinds,
    as_numbers,
    as_times,
)
from training.modalities.table.reading.schema_overrides import ColumnOverride
from training.modalities.table.reading.sources.raw_columns import Doubles, RawColumn
from training.modalities.table.reading.time_texts import AmbiguousDates, resolution_of, times_of

_MOSTLY: Final = 0.9
"""If so many cells are numbers, or times, the others are mistakes to be put right, or ways to say missing."""
_EXACT_DIGITS: Final = 15
"""Of a whole number that a double has."""
_FEW_ROWS: Final = 20
"""Of fewer values nothing is said of their being different."""
_HARDLY_REPEATED: Final = 0.9
_ID_NAME: Final = re.compile(
    r"(?i:(^|.*[\W_])(id|uuid|guid|key|index|nr|no|rowid))|.*[a-z]I[dD]|Unnamed: 0|column 1"
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBERED: Final = re.compile(r"(.*?)(\d{1,15})")


def parsed(column: RawColumn, told: ColumnOverride, *, decimal_comma: bool) -> Parsed:
    """The cells by their type, that which the user says or else the one inferred. Raises Unfit."""
    column = column.without(frozenset(told.missing))
    if told.type == "ignore":
        return _apart(column, "ignore", "as you say")
    if told.type is not None:
        return _as_said(column, told, decimal_comma)
    if column.kind == "other":
        return _apart(column, "ignore", f"values of type {column.came}")
    if told.format is not None:
        return _timed(as_times(column, told.format))
    return _settled(_inferred(column, decimal_comma))


def _as_said(column: RawColumn, told: ColumnOverride, decimal_comma: bool) -> Parsed:
    if told.type == "category":
        return as_kinds(column)
    if told.type == "boolean":
        return as_booleans(column, None)
    if told.type == "timestamp":
        return _timed(as_times(column, told.format))
    if told.type in ("numeric", "integer"):
        found = as_numbers(column, decimal_comma=decimal_comma)
        if told.type == "integer" and not found.integer:
            row = int((found.values != np.round(found.values)).argmax())
            raise Unfit(column, row, "a whole number", f"{float(found.values[row])!r}")
        return found
    if told.type == "identifier":
        return _identified(_inferred(column, decimal_comma), column.name) or _apart(
            column, "identifier", "as you say"
        )
    return _apart(column, "constant", "as you say: its first value")


def _apart(column: RawColumn, kind: str, words: str) -> Parsed:
    """A column that is not modelled, and why."""
    found = Parsed(column.name, "ignore", column.told, column.values, words=words)
    if kind == "constant":
        return replace(found, type="constant", apart=_constant(_inferred(column, False)))
    if kind == "identifier":
        digits = len(str(len(column.told)))
        made = IdentifierColumn(
            name=column.name,
            kind="text",
            prefix=f"{column.name[:100]}-",
            digits=digits,
            start=len(column.told) + 1,
        )
        return replace(found, type="identifier", apart=made)
    return found


def _inferred(column: RawColumn, decimal_comma: bool) -> Parsed:
    """As numbers, times, booleans or kinds."""
    if column.kind == "text":
        return _from_texts(column, decimal_comma) if column.texts else as_kinds(column)
    if column.kind == "time":
        return _timed(as_times(column, None))
    return as_booleans(column, None) if column.kind == "boolean" else as_numbers(column, decimal_comma=False)


def _from_texts(column: RawColumn, decimal_comma: bool) -> Parsed:
    if not are_codes(column.texts):
        notation, fits = notation_of(column.texts, decimal_comma=decimal_comma)
        if fits == len(column.texts):
            return as_kinds(column) if _beyond(column) else as_numbers(column, decimal_comma=decimal_comma)
        _refuse_mixed(column, [_is_number(notation, text) for text in column.texts], "numbers", decimal_comma)
    if {text.lower() for text in column.texts} == {"false", "true"}:
        return as_booleans(column, None)
    try:
        seconds = times_of(column.texts).seconds
    except AmbiguousDates:
        return as_times(column, None)  # raises
    if None not in seconds:
        return _timed(as_times(column, None))
    _refuse_mixed(column, [second is not None for second in seconds], "times", decimal_comma)
    return as_kinds(column)


def _beyond(column: RawColumn) -> bool:
    """Whether there are whole numbers so large that doubles do not tell neighbours apart: they are names."""
    return any(len(text) > _EXACT_DIGITS and text.lstrip("+-").isdigit() for text in column.texts)


def _is_number(notation: Notation, text: str) -> bool:
    try:
        notation.number(text)
    except ValueError:
        return False
    return True


def _refuse_mixed(column: RawColumn, fits: list[bool], what: str, decimal_comma: bool) -> None:
    """Raises Unfit where nearly all cells are numbers, or times, and some are not."""
    counts = np.bincount(column.codes[column.told], minlength=len(column.texts))
    share = counts[np.array(fits)].sum() / counts.sum()
    if share < _MOSTLY or counts.sum() < _FEW_ROWS:
        return
    try:
        as_numbers(column, decimal_comma=decimal_comma) if what == "numbers" else as_times(column, None)
    except Unfit as unfit:
        say = '"missing": [...] or "type": "category"'
        hint = f"{share:.2%} of the cells are {what}; --schema may say {say}"
        raise Unfit(column, unfit.row, unfit.wanted, unfit.came, hint) from None


def _timed(found: Parsed) -> Parsed:
    told = found.values[found.told]
    outside = found.told & ((found.values < FIRST_SECOND) | (found.values > LAST_SECOND))
    if outside.any():
        row = int(outside.argmax())
        raise Unfit(found, row, "a time in the years 1 to 9999", f"{found.values[row]:g} seconds since 1970")
    return replace(found, resolution=resolution_of(told, zoned=found.zoned))


def _settled(found: Parsed) -> Parsed:
    """The same, or that there is one value only, or one for each row."""
    distinct = np.unique(found.values[found.told])
    if len(distinct) == 0:
        return replace(
            found,
            type="constant",
            apart=ConstantColumn(name=found.name, value=None),
            words="no value in any row",
        )
    if len(distinct) == 1 and found.told.all():
        return replace(found, type="constant", apart=_constant(found), words="the same value in every row")
    return _identified(found, found.name) or found


def _constant(found: Parsed) -> ConstantColumn:
    if not found.told.any():
        return ConstantColumn(name=found.name, value=None)
    value = found.values[int(found.told.argmax())]
    if found.type == "category":
        return ConstantColumn(name=found.name, value=found.texts[int(value)][:4096])
    if found.type == "boolean":
        return ConstantColumn(name=found.name, value=bool(value))
    if found.type == "timestamp":
        moment = np.datetime64(round(value * 1e6), "us").item().isoformat()
        return ConstantColumn(name=found.name, value=f"{moment}Z" if found.zoned else moment)
    return ConstantColumn(name=found.name, value=int(value) if found.integer else float(value))


def _identified(found: Parsed, name: str) -> Parsed | None:
    """As an identifier, if it is one."""
    told = int(found.told.sum())
    if told < _FEW_ROWS or found.type not in ("numeric", "category"):
        return None
    distinct = np.unique(found.values[found.told])
    if found.type == "numeric":
        made = _numbers(found, distinct, name) if len(distinct) == len(found.told) else None
        words = "a number of its own in every row"
    else:
        made = _names(found, name) if len(distinct) >= _HARDLY_REPEATED * told else None
        words = "texts that hardly repeat"
    return replace(found, type="identifier", apart=made, words=words) if made else None


def _numbers(found: Parsed, distinct: Doubles, name: str) -> IdentifierColumn | None:
    if not found.integer:
        return None
    low, high, gaps = int(distinct[0]), int(distinct[-1]), np.unique(np.diff(distinct))
    counted = len(gaps) == 1 and low in (0, 1) and gaps[0] == 1
    if not counted and not _ID_NAME.fullmatch(name):
        return None
    step = int(gaps[0]) if len(gaps) == 1 else 1
    return IdentifierColumn(name=name, kind="integer", start=min(high + step, LARGEST_INTEGER), step=step)


def _names(found: Parsed, name: str) -> IdentifierColumn:
    if all(_UUID.fullmatch(text) for text in found.texts):
        return IdentifierColumn(name=name, kind="uuid")
    numbered = [_NUMBERED.fullmatch(text) for text in found.texts]
    prefixes = {match[1] for match in numbered if match}
    if len(prefixes) == 1 and all(numbered) and len(prefix := prefixes.pop()) <= 100 and prefix.isprintable():
        numbers = [match[2] for match in numbered if match]
        digits = min(map(len, numbers)) if any(number[0] == "0" for number in numbers) else 0
        return IdentifierColumn(
            name=name, kind="text", prefix=prefix, digits=digits, start=max(map(int, numbers)) + 1
        )
    rows = len(found.told)
    return IdentifierColumn(
        name=name, kind="text", prefix=f"{name[:100]}-", digits=len(str(rows)), start=rows + 1
    )
