"""A column's cells as what its type says they are: numbers, seconds, 0 and 1, or kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.bundle import quoted
from serving.bundle.tables import ConstantColumn, IdentifierColumn
from serving.bundle.tables.column_kinds import LARGEST, LARGEST_INTEGER
from serving.bundle.tables.written.written_numbers import Notation
from serving.bundle.tables.written.written_times import ISO
from training.modalities.table.reading.number_texts import PLAIN, WORDS, decimals_of, notation_of
from training.modalities.table.reading.sources.raw_columns import Codes, Doubles, RawColumn, Told
from training.modalities.table.reading.time_texts import AmbiguousDates, times_of

Kind = Literal["numeric", "timestamp", "category", "boolean", "constant", "identifier", "ignore"]


@dataclass(frozen=True, eq=False)
class Parsed:
    """n cells of one type."""

    name: str
    type: Kind
    told: Told
    values: Doubles
    """[n] numbers, seconds, 0 or 1, or the index of the text; 0 where nothing is told."""
    texts: tuple[str, ...] = ()
    """Of a category, and the words of a boolean."""
    integer: bool = False
    decimals: int | None = None
    zoned: bool = False
    resolution: float = 1.0
    """Of times, in seconds."""
    notation: Notation = PLAIN
    """Of numbers that are texts."""
    written: tuple[str, ...] = ()
    """Forms of times beside ISO 8601."""
    apart: ConstantColumn | IdentifierColumn | None = None
    """What is known of a column that is not modelled."""
    words: str = ""
    """What was done, or why it is what it is, where a reader might wonder."""


class Unfit(Exception):
    """A cell that is not of the type; rows count from 1 in its words, the first below the names."""

    def __init__(self, column: RawColumn | Parsed, row: int, wanted: str, came: str, hint: str = "") -> None:
        end = f"; {hint}" if hint else ""
        super().__init__(f"column {quoted(column.name)}, row {row + 1}: want {wanted}, came {came}{end}")
        self.row, self.wanted, self.came = row, wanted, came


def first_row(codes: Codes, bad: Sequence[int]) -> int:
    """The first row that has one of these texts."""
    return int(np.isin(codes, bad).argmax())


def as_numbers(column: RawColumn, *, decimal_comma: bool) -> Parsed:
    """Raises Unfit for the first cell that is no finite number."""
    notation, decimals = PLAIN, None
    if column.kind == "text":
        notation, _ = notation_of(column.texts, decimal_comma=decimal_comma)
        numbers, bad = [], []
        for place, text in enumerate(column.texts):
            try:
                numbers.append(notation.number(text))
            except ValueError:
                numbers.append(0.0)
                bad.append(place)
        if bad:
            row = first_row(column.codes, bad)
            raise Unfit(column, row, "a number", quoted(column.texts[column.codes[row]]))
        values = np.array([*numbers, 0.0])[column.codes]
        decimals = decimals_of(notation, column.texts)
    elif column.kind in ("number", "boolean"):
        values = column.values
        decimals = _decimals(values)
    else:
        raise Unfit(column, 0, "a number", f"{column.came or column.kind}")
    beyond = ~(np.abs(values) <= LARGEST)
    if beyond.any():
        row = int(beyond.argmax())
        raise Unfit(column, row, f"a number of at most {LARGEST:g}", f"{float(values[row])!r}")
    integer = bool((values == np.round(values)).all()) and np.abs(values).max(initial=0) <= LARGEST_INTEGER
    return Parsed(
        column.name, "numeric", column.told, values, integer=integer,
        decimals=0 if integer else decimals, notation=notation, words=WORDS[notation],
    )  # fmt: skip


def _decimals(values: Doubles) -> int | None:
    """Of doubles: the fewest that give each of them back, if 6 do."""
    for decimals in range(7):
        if (np.abs(values) < 1e9).all() and (np.round(values, decimals) == values).all():
            return decimals
    return None


def as_times(column: RawColumn, form: str | None) -> Parsed:
    """Raises Unfit for the first cell that is no date or time, or has a zone where others have none."""
    if column.kind == "time":
        return Parsed(column.name, "timestamp", column.told, column.values, zoned=column.zoned)
    if column.kind != "text":
        raise Unfit(column, 0, "a date or time", f"{column.came or column.kind}")
    try:
        times = times_of(column.texts, form)
    except AmbiguousDates as exc:
        row = first_row(column.codes, [column.texts.index(str(exc))])
        hint = 'say it by --schema, "format": "%d/%m/%Y" or "%m/%d/%Y"'
        raise Unfit(column, row, "dates that tell day and month apart", quoted(exc), hint) from None
    bad = [place for place, second in enumerate(times.seconds) if second is None]
    if bad:
        row = first_row(column.codes, bad)
        wanted = f"a date or time as {quoted(times.forms[0])}" if times.forms else "a date or time"
        raise Unfit(column, row, wanted, quoted(column.texts[column.codes[row]]))
    if len(set(times.zoned)) > 1:
        row = first_row(column.codes, [place for place, zoned in enumerate(times.zoned) if not zoned])
        raise Unfit(
            column, row, "a time with a zone, as others have it", quoted(column.texts[column.codes[row]])
        )
    values = np.array([*times.seconds, 0.0], np.float64)[column.codes]
    others = tuple(name for name in times.forms if name != ISO)
    words = f"written as {', '.join(times.forms)}; records have {ISO}" if others and not form else ""
    zoned = any(times.zoned)
    return Parsed(column.name, "timestamp", column.told, values, zoned=zoned, written=others, words=words)


def as_booleans(column: RawColumn, words: tuple[str, str] | None) -> Parsed:
    """``words``: those for false and true. Raises Unfit."""
    if column.kind == "boolean":
        return Parsed(column.name, "boolean", column.told, column.values, words or ("false", "true"))
    text = column.as_texts()
    words = words or boolean_words(text.texts)
    if words is None:
        few = ", ".join(quoted(text) for text in text.texts[:3])
        raise Unfit(column, 0, "two different words for false and true", f"{len(text.texts)} ({few})")
    lowered = [word.lower() for word in words]
    bad = [place for place, word in enumerate(text.texts) if word.lower() not in lowered]
    if bad:
        row = first_row(text.codes, bad)
        raise Unfit(column, row, f"{words[0]} or {words[1]}", quoted(text.texts[text.codes[row]]))
    values = np.array([*(lowered.index(word.lower()) for word in text.texts), 0], np.float64)[text.codes]
    return Parsed(column.name, "boolean", text.told, values, words)


_PAIRS = (("false", "true"), ("no", "yes"), ("0", "1"), ("f", "t"), ("n", "y"), ("off", "on"))


def boolean_words(texts: Sequence[str]) -> tuple[str, str] | None:
    """Which of two texts is false and which true; None if they are not two."""
    by_word = {text.lower(): text for text in texts}
    if len(by_word) != 2:
        return None
    for pair in _PAIRS:
        if set(pair) == set(by_word):
            return by_word[pair[0]], by_word[pair[1]]
    low, high = sorted(by_word)
    return by_word[low], by_word[high]


def as_kinds(column: RawColumn) -> Parsed:
    """Every value by its text. Raises Unfit where values have none."""
    if column.kind == "other":
        raise Unfit(column, int(column.told.argmax()), "a text, a number, a boolean or a time", column.came)
    if column.kind == "time":
        raise Unfit(column, int(column.told.argmax()), "a text, a number or a boolean", "a time")
    text = column.as_texts()
    values = np.where(text.told, text.codes, 0).astype(np.float64)
    return Parsed(column.name, "category", text.told, values, text.texts)
