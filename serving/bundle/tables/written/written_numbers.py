"""Numbers as people write them: with a decimal point or comma, with thousands set apart."""

import re
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

_POINT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?")
_GROUPS_BY_COMMA: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})*(\.\d*)?")
_GROUPS_BY_POINT: Final = re.compile(r"[+-]?\d{1,3}(\.\d{3})*(,\d*)?")


class Notation(BaseModel):
    """How the numbers of a column are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: Literal[".", ","] = "."
    """Before the decimals."""
    thousands: Literal["", ",", "."] = ""
    """Between groups of three digits, where they are set apart."""

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.point == self.thousands:
            raise ValueError(f"want two marks for decimals and thousands, came {self.point!r} for both")
        return self

    def fits(self, text: str) -> bool:
        """Whether it is written so, with thousands set apart where the notation does that."""
        grouped = _GROUPS_BY_COMMA if self.point == "." else _GROUPS_BY_POINT
        return (grouped if self.thousands else self._plain).fullmatch(text) is not None

    def number(self, text: str) -> float:
        """Thousands may be set apart, and need not be.

        Raises:
            ValueError: it is written in another way.
        """
        if self.thousands and self.fits(text):
            text = text.replace(self.thousands, "")
        elif not self._plain.fullmatch(text):
            raise ValueError(text)
        return float(text if self.point == "." else text.replace(self.point, "."))

    @property
    def _plain(self) -> re.Pattern[str]:
        return _POINT if self.point == "." else _COMMA


def number_of(text: str, notation: Notation) -> float:
    """As the notation says, else as programs write numbers: NaN and infinity are for the caller to refuse.

    Raises:
        ValueError: it is no number.
    """
    if "_" in text:  # Python's own, not a table's
        raise ValueError(text)
    if notation.point != "." or notation.thousands:
        try:
            return notation.number(text.strip())
        except ValueError:
            pass
    return float(text)
