"""How a value is written that is read as a category: the same for training and for a request."""

from datetime import date
from typing import Final

import numpy as np

LONGEST: Final = 128
"""Letters of a category; a longer value is a rare one."""


MISSING_TEXTS: Final = frozenset(
    {"", "?", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "-NaN", "NULL", "null", "None", "none"}
    | {"<NA>", "#N/A", "#NA", "#N/A N/A", "NaT"}
)
"""Of texts, those that stand for no value: pandas' own and the question mark of older data sets."""


def text_of(value: object) -> str | None:
    """One line, without spaces around it; None for what is no text, number, boolean or date.

    A number that is whole is written without a point: 94105.0, as tables with empty cells have it, is 94105.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value.strip() if value.isprintable() else " ".join(_printable(value).split())
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return value.isoformat() if isinstance(value, date) else None


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c.isspace() else "" for c in text)
