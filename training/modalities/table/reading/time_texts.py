"""Dates and times as text: ISO 8601 and what else is common, told apart by all of a column's values."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from serving.bundle.tables.column_kinds import RESOLUTIONS
from serving.bundle.tables.timestamps import to_seconds
from training.modalities.table.reading.sources.raw_columns import Doubles

_CLOCK: Final = r"(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*(?P<half>[AaPp][Mm])?"
_TIME: Final = rf"(?:[T ]\s*{_CLOCK}\s*(?P<zone>Z|[+-]\d{{2}}:?\d{{2}})?)?"
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FORMS: Final = {
    "2026-11-27": re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})" + _TIME),
    "2026/11/27": re.compile(r"(?P<y>\d{4})[/.](?P<m>\d{1,2})[/.](?P<d>\d{1,2})" + _TIME),
    "27.11.2026": re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})" + _TIME),
    "27/11/2026": re.compile(r"(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-](?P<y>\d{4})" + _TIME),
    "27 Nov 2026": re.compile(r"(?P<d>\d{1,2})[ -](?P<n>[A-Za-z]{3,9})\.?[ -,]+(?P<y>\d{4})" + _TIME),
    "Nov 27, 2026": re.compile(r"(?P<n>[A-Za-z]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})" + _TIME),
}  # fmt: skip


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
    """Examples of the forms that were met, the most frequent first."""


def times_of(texts: Sequence[str], form: str | None = None) -> Times:
    """Times of a column; ``form`` as for ``strptime`` where it is not to be guessed.

    Raises:
        AmbiguousDates: naming such a text.
    """
    if form is not None:
        return _by_form(texts, form)
    matches = [_match(text) for text in texts]
    day_first = _day_first(texts, matches)
    seconds, zoned, forms = [], [], Counter[str]()
    for found in matches:
        second, zone = _seconds(found[1], day_first) if found else (None, False)
        seconds.append(second)
        zoned.append(zone)
        if found and second is not None:
            name = found[0] if found[1].groupdict().get("a") is None or day_first else "11/27/2026"
            forms[name] += 1
    return Times(tuple(seconds), tuple(zoned), tuple(name for name, _ in forms.most_common()))


def _match(text: str) -> tuple[str, re.Match[str]] | None:
    for name, pattern in _FORMS.items():
        if found := pattern.fullmatch(text):
            return name, found
    return None


def _day_first(texts: Sequence[str], matches: Sequence[tuple[str, re.Match[str]] | None]) -> bool:
    """Whether 03/04/2026 is in April."""
    pairs = [
        (int(found[1]["a"]), int(found[1]["b"]), text)
        for text, found in zip(texts, matches, strict=True)
        if found and found[1].groupdict().get("a")
    ]
    days, months = any(a > 12 for a, _, _ in pairs), any(b > 12 for _, b, _ in pairs)
    if days != months or all(a == b for a, b, _ in pairs):
        return days
    raise AmbiguousDates(next(text for a, b, text in pairs if a != b))


def _seconds(found: re.Match[str], day_first: bool) -> tuple[float | None, bool]:
    parts = found.groupdict()
    if parts.get("a"):
        parts["d"], parts["m"] = (parts["a"], parts["b"]) if day_first else (parts["b"], parts["a"])
    if parts.get("n"):
        name = str(parts["n"])[:3].lower()
        if name not in _MONTHS:
            return None, False
        parts["m"] = str(_MONTHS.index(name) + 1)
    text = f"{parts['y']}-{int(parts['m']):02d}-{int(parts['d']):02d}"
    if parts["time"]:
        hour, _, rest = parts["time"].replace(",", ".").partition(":")
        hours = int(hour)
        if parts["half"]:
            hours = hours % 12 + (12 if parts["half"].lower() == "pm" else 0)
        text += f"T{hours:02d}:{rest}{parts['zone'] or ''}"
    try:
        return to_seconds(text)
    except (ValueError, OverflowError):
        return None, False


def _by_form(texts: Sequence[str], form: str) -> Times:
    seconds: list[float | None] = []
    zoned = []
    for text in texts:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            seconds.append(None)
            zoned.append(False)
            continue
        zone = moment.tzinfo is not None
        seconds.append((moment if zone else moment.replace(tzinfo=UTC)).timestamp())
        zoned.append(zone)
    return Times(tuple(seconds), tuple(zoned), (form,))
