"""The kinds of columns that a model knows: what ``schema.json`` says of each.

Numbers are bounded by what becomes of them: no difference, slope or score of theirs overflows a double.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from serving.bundle.manifest import Label
from serving.bundle.tables.gaussian_columns import Gaussian
from serving.bundle.tables.normal_scores import LARGEST_SCORE
from serving.bundle.tables.numeric_columns import Histogram
from serving.bundle.tables.written.written_numbers import Notation
from serving.bundle.tables.written.written_times import Forms

MOST_COLUMNS: Final = 10_000
MOST_CATEGORIES: Final = 10_000
MOST_BINS: Final = 1024
"""Of a column; the same for the knots of its scale."""
LARGEST: Final = 1e100
"""Of a number in a table."""
LARGEST_INTEGER: Final = 1 << 53
"""Above it a double does not tell neighbours apart."""
FIRST_SECOND: Final = -62_135_596_800
LAST_SECOND: Final = 253_402_300_799
"""0001-01-01 to 9999-12-31, in seconds since 1970 UTC."""
RESOLUTIONS: Final = (86400.0, 60.0, 1.0, 0.001, 1e-06)
"""Of times, in seconds."""
REST: Final = "(rest)"
"""What the category of rare values is called, unless the data have one of that name."""

Raw = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]
Score = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST_SCORE, le=LARGEST_SCORE)]
Width = Annotated[float, Field(allow_inf_nan=False, ge=1 / LARGEST, le=LARGEST)]
Raws = Annotated[tuple[Raw, ...], Field(min_length=1, max_length=MOST_BINS)]
Whole = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Column(_Part):
    name: Label


def _increasing(what: str, values: Sequence[float], least: float = 0.0) -> None:
    if any(not after - before > least for before, after in pairwise(values)):
        raise ValueError(f"{what}: want each greater than the one before")


class Scale(_Part):
    """From raw values to normal scores."""

    knots: Raws
    scores: Annotated[tuple[Score, ...], Field(min_length=1, max_length=MOST_BINS)]
    width: Width
    """Raw units for one unit of score, below the first knot and above the last: a robust deviation."""

    @model_validator(mode="after")
    def _monotone(self) -> Self:
        if len(self.knots) != len(self.scores):
            raise ValueError(f"want as many scores as knots, came {len(self.scores)} and {len(self.knots)}")
        _increasing("knots", self.knots, 1 / LARGEST)
        _increasing("scores", self.scores)
        return self


class Bins(_Part):
    """B bins of a histogram."""

    edges: Annotated[tuple[Raw, ...], Field(min_length=2, max_length=MOST_BINS + 1)]
    """B + 1; a bin has its lower edge, the last one its upper edge as well."""
    least: Raws
    """The lowest value in each bin, and ``most`` the highest; the same if a bin is one value."""
    most: Raws

    @model_validator(mode="after")
    def _nested(self) -> Self:
        counts = len(self.edges) - 1, len(self.least), len(self.most)
        if len(set(counts)) != 1:
            raise ValueError(f"want as many least and most as bins, came {counts[1:]} for {counts[0]} bins")
        _increasing("edges", self.edges)
        inside = zip(self.edges, self.least, self.most, self.edges[1:], strict=False)
        if any(not low <= least <= most <= high for low, least, most, high in inside):
            raise ValueError("want edge <= least <= most <= next edge in each bin")
        return self


class _Number(_Column):
    nullable: bool
    """Whether cells were missing in the data."""
    bounds: tuple[Raw, Raw]
    """Of what is drawn; other values may be given."""
    scale: Scale
    bins: Bins | None
    """Of a histogram of the scores; null where there were too few rows for one: their density is Gaussian."""
    heaps: tuple[bool, bool] = (False, False)
    """Of a Gaussian: whether the data heap up at the lower and at the upper bound, as zeros do."""

    @property
    def lattice(self) -> float | None:
        raise NotImplementedError

    @property
    def rounding(self) -> int | None:
        raise NotImplementedError

    @cached_property
    def density(self) -> Histogram | Gaussian:
        """p(x|z) of its values, for parameters."""
        bins, shared = self.bins, self._scores()
        if bins is None:
            return Gaussian(**shared, heaps=self.heaps)
        edges, least, most = np.array(bins.edges), np.array(bins.least), np.array(bins.most)
        return Histogram(**shared, edges=edges, least=least, most=most)

    def _scores(self) -> dict[str, Any]:
        knots, scores = np.array(self.scale.knots), np.array(self.scale.scores)
        return {
            "knots": knots, "scores": scores, "width": self.scale.width,
            "lattice": self.lattice, "decimals": self.rounding, "bounds": self.bounds,
        }  # fmt: skip

    @property
    def logits(self) -> int:
        """Parameters of its values, without the one for missing: of bins and tails, or mean and log σ."""
        return 2 if self.bins is None else len(self.bins.least) + 2

    @property
    def codes(self) -> int:
        """How many there are: one for each bin and tail."""
        return 1 if self.bins is None else len(self.bins.least) + 2

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        low, high = self.bounds
        if not low <= high:
            raise ValueError(f"bounds: want the smaller first, came {low:g} and {high:g}")
        if self.lattice is not None:
            inside = () if self.bins is None else (*self.bins.least, *self.bins.most)
            numbers = np.array([*self.bounds, *inside]) / self.lattice
            if (np.abs(numbers - np.round(numbers)) > 1e-3).any():
                raise ValueError(f"bounds and bins: want multiples of {self.lattice:g}")
        return self


class NumericColumn(_Number):
    """Numbers."""

    type: Literal["numeric"] = "numeric"
    integer: bool
    decimals: Annotated[int, Field(ge=0, le=15)] | None
    """Most digits after the point in the data; null if they have more than a double can tell."""
    notation: Notation = Notation()
    """Of numbers that are given as text; records have numbers."""

    @property
    def lattice(self) -> float | None:
        return 1.0 if self.integer else None

    @property
    def rounding(self) -> int | None:
        return 0 if self.integer else self.decimals

    @model_validator(mode="after")
    def _written(self) -> Self:
        if self.integer and self.decimals:
            raise ValueError(f"decimals: want 0 or null of an integer column, came {self.decimals}")
        if self.integer and max(map(abs, self.bounds)) > LARGEST_INTEGER:
            raise ValueError(f"bounds: want at most {LARGEST_INTEGER} of an integer column")
        return self


def _known_resolution(seconds: float) -> float:
    if seconds not in RESOLUTIONS:
        raise ValueError(f"want one of {', '.join(f'{s:g}' for s in RESOLUTIONS)}, came {seconds:g}")
    return seconds


class TimestampColumn(_Number):
    """Times, in seconds since 1970 UTC."""

    type: Literal["timestamp"] = "timestamp"
    resolution: Annotated[float, AfterValidator(_known_resolution)]
    """In seconds: 86400 where the data are dates, 60, 1, 0.001 or 1e-06."""
    zone: Literal["utc", "local"]
    """local: written without a zone, and counted as if it were UTC."""
    written: Forms = ()
    """Forms that the data have beside ISO 8601, in which times may be given; records have ISO 8601."""

    @property
    def lattice(self) -> float | None:
        return self.resolution

    @property
    def rounding(self) -> int | None:
        return round(-math.log10(self.resolution)) if self.resolution < 1 else None

    @model_validator(mode="after")
    def _in_calendar(self) -> Self:
        if not FIRST_SECOND <= self.bounds[0] <= self.bounds[1] <= LAST_SECOND + 1:
            raise ValueError("bounds: want the years 1 to 9999, in seconds since 1970")
        if self.resolution == RESOLUTIONS[0] and self.zone == "utc":
            raise ValueError("zone: want local of dates, which are written without a zone")
        return self


class CategoryColumn(_Column):
    """Kinds, the most frequent first."""

    type: Literal["category"] = "category"
    nullable: bool
    categories: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_CATEGORIES)]
    rest: bool
    """Whether the last category stands for rare ones."""

    @property
    def logits(self) -> int:
        return len(self.categories)

    @property
    def codes(self) -> int:
        return len(self.categories)

    @cached_property
    def index(self) -> dict[str, int]:
        return {category: place for place, category in enumerate(self.categories)}

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(self.index) != len(self.categories):
            raise ValueError("categories: want each once")
        return self


class BooleanColumn(_Column):
    """False or true."""

    type: Literal["boolean"] = "boolean"
    nullable: bool
    words: tuple[Label, Label] = ("false", "true")
    """How the data write false and true, where they are text; taken in any case of letters."""

    @property
    def logits(self) -> int:
        return 1

    @property
    def codes(self) -> int:
        return 2

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.words[0].lower() == self.words[1].lower():
            raise ValueError("words: want two different ones")
        return self


Density = Histogram | Gaussian
Number = NumericColumn | TimestampColumn
Modelled = NumericColumn | TimestampColumn | CategoryColumn | BooleanColumn
