"""Dates and times as text: ISO 8601, and what else people write."""

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ANY: Final = datetime(2026, 11, 27, tzinfo=UTC)
_CLOCK: Final = r"(?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)\s*(?P<half>[AaPp][Mm])?"
_TIME: Final = rf"(?:[T ]\s*{_CLOCK}\s*(?P<zone>Z|[+-]\d{{2}}:?\d{{2}})?)?"
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ISO: Final = "2026-11-27"
DAY_FIRST: Final = "27/11/2026"
MONTH_FIRST: Final = "11/27/2026"
FORMS: Final = {
    ISO: re.compile(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})" + _TIME),
    "2026/11/27": re.compile(r"(?P<y>\d{4})[/.](?P<m>\d{1,2})[/.](?P<d>\d{1,2})" + _TIME),
    "27.11.2026": re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})" + _TIME),
    DAY_FIRST: re.compile(r"(?P<d>\d{1,2})[/-](?P<m>\d{1,2})[/-](?P<y>\d{4})" + _TIME),
    MONTH_FIRST: re.compile(r"(?P<m>\d{1,2})[/-](?P<d>\d{1,2})[/-](?P<y>\d{4})" + _TIME),
    "27 Nov 2026": re.compile(r"(?P<d>\d{1,2})[ -](?P<n>[A-Za-z]{3,9})\.?[ -,]+(?P<y>\d{4})" + _TIME),
    "Nov 27, 2026": re.compile(r"(?P<n>[A-Za-z]{3,9})\.? (?P<d>\d{1,2}),? (?P<y>\d{4})" + _TIME),
}  # fmt: skip
"""By an example. The two with slashes are told apart by all values of a column alone."""


def _known(form: str) -> str:
    if form in FORMS:
        return form
    try:
        moment = datetime.strptime(_ANY.strftime(form), form)
    except (ValueError, re.error):  # the latter of a part that is there twice
        moment = None
    if moment is None or moment.year != _ANY.year:
        raise ValueError(
            f"want one of {', '.join(FORMS)}, or a form of strptime with the year; came {form!r}"
        )
    return form


Form = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_known)]
"""One of ``FORMS``, or one for ``strptime``, such as %d.%m.%y."""
Forms = Annotated[tuple[Form, ...], Field(max_length=16)]


def to_seconds(value: str | date) -> tuple[float, bool]:
    """Seconds, and whether the zone is known; a time without one is counted as if it were UTC.

    Raises:
        ValueError: no ISO 8601 date or time of the years 1 to 9999.
    """
    moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    zoned = moment.tzinfo is not None
    return ((moment if zoned else moment.replace(tzinfo=UTC)) - EPOCH).total_seconds(), zoned


def written_seconds(text: str, form: str) -> tuple[float, bool]:
    """Seconds since 1970, and whether the zone is known; a time without one is counted as if it were UTC.

    Raises:
        ValueError: it is written in another way, or there is no such day.
    """
    if form not in FORMS:
        return to_seconds(datetime.strptime(text, form))
    found = FORMS[form].fullmatch(text)
    if found is None:
        raise ValueError(text)
    parts = found.groupdict()
    month = parts.get("m")
    if month is None:
        month = str(_MONTHS.index(parts["n"][:3].lower()) + 1)
    iso = f"{parts['y']}-{int(month):02d}-{int(parts['d']):02d}"
    if parts["time"]:
        hour, _, rest = parts["time"].replace(",", ".").partition(":")
        hours = int(hour)
        if parts["half"]:
            hours = hours % 12 + (12 if parts["half"].lower() == "pm" else 0)
        iso += f"T{hours:02d}:{rest}{parts['zone'] or ''}"
    return to_seconds(iso)


def moment_of(value: str | date, forms: tuple[str, ...]) -> tuple[float, bool]:
    """The same of a date, or of a text in one of these forms or in ISO 8601, loose ones too.

    Raises:
        ValueError, OverflowError: it is none.
    """
    if not isinstance(value, str):
        return to_seconds(value)
    for form in forms:
        try:
            return written_seconds(value.strip(), form)
        except ValueError:
            continue
    try:
        return to_seconds(value)
    except ValueError:
        return written_seconds(value.strip(), ISO)
