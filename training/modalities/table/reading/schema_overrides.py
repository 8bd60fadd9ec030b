"""What a user says of the columns (``--schema schema.json``), over what is inferred of them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.bundle import plain, quoted
from serving.bundle.manifest import Label
from serving.bundle.tables.column_kinds import MOST_CATEGORIES, Raw
from serving.bundle.tables.written.written_times import Form
from training.training_error import TrainingError

Type = Literal[
    "numeric", "integer", "category", "boolean", "timestamp", "identifier", "constant", "ignore"
]  # fmt: skip
_LONGEST = 1 << 24


class ColumnOverride(BaseModel):
    """Of one column; what is not given is inferred."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: Type | None = None
    nullable: bool | None = None
    """Whether the model may give, and take, missing cells."""
    bounds: tuple[Raw, Raw] | None = None
    """Of numbers; rows of the data outside are refused."""
    decimals: Annotated[int, Field(ge=0, le=15)] | None = None
    """What numbers are rounded to."""
    missing: tuple[str, ...] = ()
    """Texts that stand for a missing value, beside the usual ones."""
    format: Form | None = None
    """Of times, by an example (27/11/2026) or as for ``strptime`` (%d/%m/%y)."""
    categories: Annotated[int, Field(ge=1, le=MOST_CATEGORIES)] | None = None
    """As many kinds at most; the rarer ones are the rest."""

    @model_validator(mode="after")
    def _fits_type(self) -> Self:
        numbers = (None, "numeric", "integer")
        kinds = {
            "format": (None, "timestamp"),
            "decimals": numbers,
            "bounds": numbers,
            "categories": (None, "category"),
        }
        for key, types in kinds.items():
            if getattr(self, key) is not None and self.type not in types:
                raise ValueError(f"{key}: not for a column of type {self.type}")
        if self.bounds is not None and not self.bounds[0] <= self.bounds[1]:
            raise ValueError("bounds: want the smaller first")
        return self


class Overrides(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    columns: dict[Label, ColumnOverride] = {}
    orders: tuple[tuple[Label, Label], ...] | None = None
    """Pairs (a, b) with a <= b in every record; found in the data if not given."""

    @classmethod
    def read(cls, path: Path | None) -> Self:
        """Those of a file; none without one. Raises TrainingError."""
        if path is None:
            return cls()
        try:
            content = path.read_bytes()
        except OSError as exc:
            raise TrainingError(f"--schema {path}: {exc.strerror or exc}") from None
        if len(content) > _LONGEST:
            raise TrainingError(f"--schema {path}: want at most {_LONGEST} bytes, came {len(content)}")
        try:
            return cls.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            key = plain(".".join(str(part) for part in first["loc"]), 100) or "file"
            reason = first["msg"].removeprefix("Value error, ")
            raise TrainingError(f"--schema {path}: {key}: {plain(reason)}") from None

    def of(self, name: str) -> ColumnOverride:
        return self.columns.get(name, _NOTHING)

    def check_names(self, names: set[str]) -> None:
        """Raises TrainingError for a column that the table has not."""
        orders = [name for pair in self.orders or () for name in pair]
        for name in (*self.columns, *orders):
            if name not in names:
                few = ", ".join(sorted(names)[:5])
                raise TrainingError(
                    f"--schema: {quoted(name)}: want a column of the table ({plain(few, 100)} …)"
                )


_NOTHING = ColumnOverride()
