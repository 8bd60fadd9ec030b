"""Which notation the numbers of a column are in, and what else their texts tell."""

import re
from collections.abc import Sequence
from typing import Final

from serving.bundle.tables.written.written_numbers import Notation

_CODE: Final = re.compile(r"[+-]?0\d+")
_MOST_DECIMALS: Final = 12
"""More than that are not the way that a person writes a number: values of the column are not rounded."""
PLAIN: Final = Notation()
WORDS: Final = {
    PLAIN: "",
    Notation(thousands=","): "thousands set apart by commas",
    Notation(point=","): "decimal commas",
    Notation(point=",", thousands="."): "decimal commas, thousands set apart by points",
}
_NOTATIONS: Final = tuple(WORDS)
_COMMAS_FIRST: Final = (_NOTATIONS[0], _NOTATIONS[2], _NOTATIONS[1], _NOTATIONS[3])


def notation_of(texts: Sequence[str], *, decimal_comma: bool) -> tuple[Notation, int]:
    """The notation that fits most of these texts, and how many it fits.

    ``decimal_comma``: 1,234 is a number between 1 and 2, unless others of the column tell otherwise.
    """
    best, most = PLAIN, -1
    for notation in _COMMAS_FIRST if decimal_comma else _NOTATIONS:
        fits = sum(notation.fits(text) for text in texts)
        if fits > most:
            best, most = notation, fits
        if fits == len(texts):
            break
    return best, most


def decimals_of(notation: Notation, texts: Sequence[str]) -> int | None:
    """Digits after the point, at most; None if there is no telling."""
    if any("e" in text or "E" in text for text in texts):
        return None
    most = max((len(text.partition(notation.point)[2].rstrip("0")) for text in texts), default=0)
    return most if most <= _MOST_DECIMALS else None


def are_codes(texts: Sequence[str]) -> bool:
    """Whether these digits are names and no numbers, as postal codes are: zeros before them count."""
    return any(_CODE.fullmatch(text) for text in texts)
