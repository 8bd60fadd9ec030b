"""``schema.json``: the columns of a table, and how each enters the model and leaves it."""

import json
from functools import cached_property
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from serving.bundle.manifest import Label
from serving.bundle.sealed_files import BundleError
from serving.bundle.tables.apart.apart_kinds import Column, DerivedColumn
from serving.bundle.tables.column_kinds import (
    MOST_COLUMNS,
    BooleanColumn,
    CategoryColumn,
    Modelled,
    Number,
    NumericColumn,
    TimestampColumn,
    _Part,
)
from serving.errors import plain

SCHEMA: Final = "schema.json"
SCHEMA_FORMAT: Final = 1
MOST_BYTES: Final = 64 << 20
"""Of the file."""
MOST_PARAMETERS: Final = 1 << 17
"""Of p(x|z): what the last layer of a decoder gives for one row."""
MOST_ORDERS: Final = 10_000


class Schema(_Part):
    """A table. C is the number of modelled columns, P that of the parameters of p(x|z)."""

    format: Literal[1] = SCHEMA_FORMAT
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=MOST_COLUMNS)]
    """In the order of the table."""
    label: Label | None = None
    """The category or boolean column whose values name the pools."""
    orders: Annotated[tuple[tuple[Label, Label], ...], Field(max_length=MOST_ORDERS)] = ()
    """Pairs of columns (a, b) with a <= b in every row of the data."""

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """That of a file. Raises BundleError."""
        if len(content) > MOST_BYTES:
            raise BundleError(f"{SCHEMA}: want at most {MOST_BYTES} bytes, came {len(content)}")
        try:
            document = json.loads(content)
            found = document.get("format") if isinstance(document, dict) else None
        except (ValueError, RecursionError) as exc:
            raise BundleError(f"{SCHEMA}: not JSON: {exc}") from None
        if type(found) is not int or found != SCHEMA_FORMAT:
            raise BundleError(f"{SCHEMA}: want an object with format {SCHEMA_FORMAT}, came {str(found)[:40]}")
        try:
            return cls.model_validate_json(content)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            key = plain(".".join(str(part) for part in first["loc"]), 100) or "schema"
            raise BundleError(f"{SCHEMA}: {key}: {first['msg'].removeprefix('Value error, ')}") from None

    def to_bytes(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"

    @cached_property
    def modelled(self) -> tuple[Modelled, ...]:
        """The numeric, timestamp, category and boolean columns, in the order of the table."""
        kinds = (NumericColumn, TimestampColumn, CategoryColumn, BooleanColumn)
        return tuple(column for column in self.columns if isinstance(column, kinds))

    @cached_property
    def derived(self) -> tuple[DerivedColumn, ...]:
        """Those that follow from a modelled one, in the order of the table."""
        return tuple(column for column in self.columns if isinstance(column, DerivedColumn))

    @cached_property
    def place(self) -> dict[str, int]:
        """From the name of a modelled column to its index among them."""
        return {column.name: index for index, column in enumerate(self.modelled)}

    @cached_property
    def spans(self) -> dict[str, slice]:
        """From the name of a modelled column to its parameters: [missing if nullable], then its logits."""
        spans, start = {}, 0
        for column in self.modelled:
            end = start + column.nullable + column.logits
            spans[column.name] = slice(start, end)
            start = end
        return spans

    @cached_property
    def parameters(self) -> int:
        return sum(column.nullable + column.logits for column in self.modelled)

    @property
    def features(self) -> int:
        return 3 * len(self.modelled)

    @cached_property
    def before(self) -> tuple[tuple[frozenset[int], frozenset[int]], ...]:
        """Of each modelled column: the indices of those that are at most it, and of those at least it.

        Chains are followed: with (a, b) and (b, c), a is at most c.
        """
        above: dict[int, set[int]] = {}
        for low, high in self.orders:
            above.setdefault(self.place[low], set()).add(self.place[high])
        reached = {start: _reachable(above, start) for start in above}
        below: dict[int, set[int]] = {}
        for start, ends in reached.items():
            for end in ends:
                below.setdefault(end, set()).add(start)
        every = range(len(self.modelled))
        return tuple((frozenset(below.get(i, ())), frozenset(reached.get(i, ()))) for i in every)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = {column.name for column in self.columns}
        if len(names) != len(self.columns):
            raise ValueError("columns: names must differ")
        if not self.modelled:
            raise ValueError("columns: want at least one that is numeric, timestamp, category or boolean")
        if self.parameters > MOST_PARAMETERS:
            raise ValueError(f"columns: want at most {MOST_PARAMETERS} parameters, came {self.parameters}")
        if self.label is not None:
            labels = (CategoryColumn, BooleanColumn)
            if not any(c.name == self.label and isinstance(c, labels) for c in self.modelled):
                raise ValueError(f"label {self.label!r}: want the name of a category or boolean column")
        for column in self.derived:
            self._check_derived(column)
        self._check_orders()
        return self

    def _check_derived(self, column: DerivedColumn) -> None:
        source = self.modelled[self.place[column.of]] if column.of in self.place else None
        if not isinstance(source, CategoryColumn | BooleanColumn):
            raise ValueError(f"{column.name!r}: of: want a category or boolean column, came {column.of!r}")
        if len(column.values) != source.codes:
            came = f"{source.codes} values, one for each of {column.of!r}, came {len(column.values)}"
            raise ValueError(f"{column.name!r}: values: want {came}")

    def _check_orders(self) -> None:
        for low, high in self.orders:
            pair = [self.modelled[self.place[n]] for n in (low, high) if n in self.place]
            first, last = pair if len(pair) == 2 else (None, None)
            if not (isinstance(first, Number) and isinstance(last, Number)) or first is last:
                raise ValueError(f"orders: want two numeric or timestamp columns, came {low!r}, {high!r}")
            if _written(first) != _written(last):
                raise ValueError(f"orders: want {low!r} and {high!r} of one kind, rounded alike")
            if any(a > b for a, b in zip(first.bounds, last.bounds, strict=True)):
                raise ValueError(f"orders: want the bounds of {low!r} at most those of {high!r}")
        if any(i in after for i, (_, after) in enumerate(self.before)):
            raise ValueError("orders: want no circle of pairs")


def _written(column: Number) -> tuple[object, ...]:
    zone = column.zone if isinstance(column, TimestampColumn) else None
    return column.type, column.lattice, column.rounding, zone


def _reachable(above: dict[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    stack = [start]
    while stack:
        for end in above.get(stack.pop(), ()):
            if end not in found:
                found.add(end)
                stack.append(end)
    return found
