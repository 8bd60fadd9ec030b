"""In which forms the dates and times of a column are written: told by all of its values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.bundle.tables.column_kinds import RESOLUTIONS
from serving.bundle.tables.written.written_times import DAY_FIRST, FORMS, MONTH_FIRST, written_seconds
from training.modalities.table.reading.sources.raw_columns import Doubles


def resolution_of(seconds: Doubles, *, zoned: bool) -> float:
    """The coarsest of whole days, minutes, seconds, milliseconds and microseconds that tells all of them.

    Days are only for times without a zone: a date has none.
    """
    for resolution in RESOLUTIONS[zoned:]:
        steps = seconds / resolution
        if (np.abs(steps - np.round(steps)) * resolution < 5e-7).all():
            return resolution
    return RESOLUTIONS[-1]


class AmbiguousDates(ValueError):
    """03/04/2026 is in March or in April, and no value of the column tells which."""


@dataclass(frozen=True)
class Times:
    """Seconds of each text, None where it is no time."""

    seconds: tuple[float | None, ...]
    zoned: tuple[bool, ...]
    forms: tuple[str, ...]
    """Those that were met, the most frequent first."""


def times_of(texts: Sequence[str], form: str | None = None) -> Times:
    """Times of a column; ``form`` as for ``strptime`` where it is not to be guessed.

    Raises:
        AmbiguousDates: naming such a text.
    """
    forms = [form] * len(texts) if form is not None else _forms(texts)
    seconds: list[float | None] = []
    zoned, met = [], Counter[str]()
    for text, own in zip(texts, forms, strict=True):
        second, zone = _seconds(text, own)
        seconds.append(second)
        zoned.append(zone)
        if own is not None and second is not None:
            met[own] += 1
    names = tuple(name for name, _ in met.most_common())
    return Times(tuple(seconds), tuple(zoned), names or (() if form is None else (form,)))


def _seconds(text: str, form: str | None) -> tuple[float | None, bool]:
    if form is None:
        return None, False
    try:
        return written_seconds(text, form)
    except (ValueError, OverflowError):
        return None, False


def _forms(texts: Sequence[str]) -> list[str | None]:
    forms = [
        next((name for name, pattern in FORMS.items() if pattern.fullmatch(text)), None) for text in texts
    ]
    slashes = [text for text, form in zip(texts, forms, strict=True) if form == DAY_FIRST]
    if slashes and not _day_first(slashes):
        forms = [MONTH_FIRST if form == DAY_FIRST else form for form in forms]
    return forms


def _day_first(texts: Sequence[str]) -> bool:
    """Whether 03/04/2026 is in April, by texts that are written so."""
    pairs = []
    for text in texts:
        found = FORMS[DAY_FIRST].fullmatch(text)
        assert found is not None
        pairs.append((int(found["d"]), int(found["m"]), text))
    days, months = any(a > 12 for a, _, _ in pairs), any(b > 12 for _, b, _ in pairs)
    if days != months or all(a == b for a, b, _ in pairs):
        return days
    raise AmbiguousDates(next(text for a, b, text in pairs if a != b))
