"""The kinds of columns that are kept apart from the model: what ``schema.json`` says of each."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from serving.bundle.manifest import Label
from serving.bundle.tables.column_kinds import (
    LARGEST_INTEGER,
    MOST_CATEGORIES,
    Modelled,
    Raw,
    Whole,
    _Column,
)
from serving.bundle.tables.written.written_numbers import Notation
from serving.bundle.tables.written.written_times import Forms, to_seconds

Scalar = bool | Whole | Raw | Annotated[str, Field(max_length=4096)] | None
"""A value as users see it."""


class ConstantColumn(_Column):
    """One value in every row: kept apart, and put back into every record."""

    type: Literal["constant"] = "constant"
    value: Scalar


class IdentifierColumn(_Column):
    """A value of its own in every row: kept apart, and made anew in every record."""

    type: Literal["identifier"] = "identifier"
    kind: Literal["integer", "uuid", "text"]
    start: Whole = 0
    """The first new number, of integers and of texts."""
    step: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)] = 1
    prefix: Annotated[str, Field(max_length=128, pattern=r"^[^\p{Cc}\p{Zl}\p{Zp}]*$")] = ""
    """Of texts, before the number."""
    digits: Annotated[int, Field(ge=0, le=32)] = 0
    """Of texts: a shorter number is filled up with zeros."""


class DerivedColumn(_Column):
    """A function of another column: looked up in it once that is drawn. K is the number of its categories."""

    type: Literal["derived"] = "derived"
    of: Label
    """The category or boolean column that it follows from."""
    kind: Literal["numeric", "category", "boolean", "timestamp"]
    """What its values are; how they are written decides nothing."""
    values: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=MOST_CATEGORIES)]
    """[K] that of each category, in order (false, true); null where it is missing."""
    missing: Scalar = None
    """Where the source is missing."""
    words: tuple[Label, Label] = ("false", "true")
    """How the data write false and true."""
    notation: Notation = Notation()
    """Of numbers."""
    written: Forms = ()
    """Of times, as of those of a timestamp column."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        for value in (*self.values, self.missing):
            if value is not None and not _is(self.kind, value):
                raise ValueError(f"values: want those of a {self.kind} column, came {str(value)[:40]!r}")
        if self.words[0].lower() == self.words[1].lower():
            raise ValueError("words: want two different ones")
        return self


def _is(kind: str, value: object) -> bool:
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    if kind == "numeric" or not isinstance(value, str):
        return kind == "numeric" and isinstance(value, int | float)
    try:
        return kind == "category" or bool(to_seconds(value))
    except (ValueError, OverflowError):
        return False


Column = Annotated[Modelled | ConstantColumn | IdentifierColumn | DerivedColumn, Field(discriminator="type")]
APART: Final = (ConstantColumn, IdentifierColumn, DerivedColumn)
