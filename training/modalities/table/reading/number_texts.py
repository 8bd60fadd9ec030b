"""Numbers written as text: with a decimal point or comma, with thousands set apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_POINT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?")
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})*(\.\d*)?")
_THOUSANDS_POINT: Final = re.compile(r"[+-]?\d{1,3}(\.\d{3})*(,\d*)?")
_CODE: Final = re.compile(r"[+-]?0\d+")
_MOST_DECIMALS: Final = 12
"""More than that are not the way that a person writes a number: values of the column are not rounded."""


@dataclass(frozen=True)
class Notation:
    """How the numbers of a column are written."""

    point: str
    """Before the decimals."""
    thousands: str
    """Between groups of digits, "" for none."""
    words: str = ""

    def number(self, text: str) -> float:
        """Raises ValueError."""
        plain = text.replace(self.thousands, "") if self.thousands else text
        plain = plain if self.point == "." else plain.replace(self.point, ".")
        if not _POINT.fullmatch(plain):
            raise ValueError(text)
        return float(plain)

    def decimals(self, texts: Sequence[str]) -> int | None:
        """Digits after the point, at most; None if there is no telling."""
        if any("e" in text or "E" in text for text in texts):
            return None
        most = max((len(text.partition(self.point)[2].rstrip("0")) for text in texts), default=0)
        return most if most <= _MOST_DECIMALS else None


PLAIN: Final = Notation(".", "")
_NOTATIONS: Final = (
    (_POINT, PLAIN),
    (_THOUSANDS, Notation(".", ",", "thousands set apart by commas")),
    (_COMMA, Notation(",", "", "decimal commas")),
    (_THOUSANDS_POINT, Notation(",", ".", "decimal commas, thousands set apart by points")),
)
_COMMAS_FIRST: Final = (_NOTATIONS[0], _NOTATIONS[2], _NOTATIONS[1], _NOTATIONS[3])


def notation_of(texts: Sequence[str], *, decimal_comma: bool) -> tuple[Notation, int]:
    """The notation that fits most of these texts, and how many it fits.

    ``decimal_comma``: 1,234 is a number between 1 and 2, unless others of the column tell otherwise.
    """
    best, most = PLAIN, -1
    for pattern, notation in _COMMAS_FIRST if decimal_comma else _NOTATIONS:
        fits = sum(pattern.fullmatch(text) is not None for text in texts)
        if fits > most:
            best, most = notation, fits
        if fits == len(texts):
            break
    return best, most


def are_codes(texts: Sequence[str]) -> bool:
    """Whether these digits are names and no numbers, as postal codes are: zeros before them count."""
    return any(_CODE.fullmatch(text) for text in texts)
