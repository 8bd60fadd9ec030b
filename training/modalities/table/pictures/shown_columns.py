"""What the charts of tables have in common: colours, names, and a column's values as something to draw."""

from typing import Any, Final, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from serving.bundle.tables import OBSERVED, BooleanColumn, Cells, Modelled, Number, TimestampColumn
from training.charts import BLUE, short

Doubles = NDArray[np.float64]

REAL: Final = "#9db4cc"
SYNTHETIC: Final = "#c0392b"
NAMES: Final = {"real": REAL, "synthetic": SYNTHETIC}
LONGEST: Final = 14
"""Letters of a category's name."""
MISSING_NAME: Final = "(missing)"
OTHERS: Final = "(others)"
DAY: Final = 86400.0
SHARES: Any = LinearSegmentedColormap.from_list("shares", ["#ffffff", BLUE, "#14304f"])
"""From nothing to much."""
TAIL: Final = 0.002
"""Share of real values at either end that does not widen an axis."""


class Axis(NamedTuple):
    """A column cut into places along an axis."""

    edges: Doubles
    """B + 1; of categories those between whole numbers."""
    names: tuple[str, ...] = ()
    """Of categories, each its place; empty for numbers."""
    of_category: Doubles | None = None
    """[K + 1] the place of each category, and last of missing cells."""


def axis_of(column: Modelled, place: int, real: Cells, *, intervals: int, categories: int) -> Axis:
    """Cut by the real rows: equally wide intervals of a number, or the most frequent categories.

    Categories beyond the most frequent are one place; so are missing cells where the column has such.
    """
    values = real.values[real.states[:, place] == OBSERVED, place]
    if isinstance(column, Number):
        ends = np.quantile(values, [TAIL, 1 - TAIL]) if len(values) else np.array([0.0, 1.0])
        low, high = ends.tolist()
        unit = column.lattice or 0.0
        if unit and high - low < intervals * unit:  # a bar for each whole number
            return Axis(np.arange(low - unit / 2, high + unit, unit))
        if high <= low:
            low, high = low - 0.5, high + 0.5
        if unit:  # intervals hold equally many whole numbers, or bars would differ for that alone
            step = unit * np.ceil((high - low) / unit / intervals)
            return Axis(np.arange(low - unit / 2, high + step, step))
        return Axis(np.linspace(low, high, intervals + 1))
    counts = np.bincount(values.astype(np.int64), minlength=len(category_names(column)))
    return _of_categories(category_names(column), counts, categories, nullable=column.nullable)


def _of_categories(names: tuple[str, ...], counts: NDArray[Any], most: int, *, nullable: bool) -> Axis:
    frequent = np.argsort(-counts, kind="stable")
    few = np.sort(frequent[:most]) if len(names) > most else np.arange(len(names))
    of_category = np.full(len(names) + 1, float(len(few)))  # the others
    of_category[few] = np.arange(len(few))
    shown = [brief(names[index]) for index in few] + [OTHERS] * (len(few) < len(names))
    of_category[-1] = len(shown) if nullable else np.nan
    shown += [MISSING_NAME] * nullable
    return Axis(np.arange(len(shown) + 1, dtype=np.float64) - 0.5, tuple(shown), of_category)


def brief(name: str) -> str:
    """A name that fits beside a small panel."""
    text = short(name)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def category_names(column: Modelled) -> tuple[str, ...]:
    """The values that a category or boolean column can have."""
    if isinstance(column, BooleanColumn):
        return column.words
    return () if isinstance(column, Number) else column.categories


def places_on(axis: Axis, place: int, cells: Cells) -> Doubles:
    """[n] where each cell lies, numbers beyond in the last interval; NaN where a number is missing."""
    values, told = cells.values[:, place], cells.states[:, place] == OBSERVED
    if axis.of_category is None:
        inside = np.clip(values, axis.edges[0], axis.edges[-1])
        return np.where(told, inside, np.nan)
    return axis.of_category[np.where(told, values, -1).astype(np.intp)]


def shares(axis: Axis, places: Doubles) -> Doubles:
    """[B] of all cells that are shown."""
    counts, _ = np.histogram(places[~np.isnan(places)], axis.edges)
    return np.asarray(counts / max(1, counts.sum()))


def label(ax: Axes, axis: Axis, column: Modelled, *, horizontal: bool) -> None:
    """Ticks of a column along one side."""
    side = ax.xaxis if horizontal else ax.yaxis
    if axis.names:
        side.set_ticks(np.arange(len(axis.names)), list(axis.names))
        return
    if isinstance(column, TimestampColumn):
        span = float(np.ptp(axis.edges)) / DAY
        side.set_major_locator(MaxNLocator(3, integer=span > 3, prune="both"))
        side.set_major_formatter(lambda days, _: _moment(days, "D" if span > 3 else "m"))
        return
    side.set_major_locator(MaxNLocator(4))
    if np.abs(axis.edges).max() >= 10_000:
        side.set_major_formatter(EngFormatter(sep=""))


def drawn(edges: Doubles, column: Modelled) -> Doubles:
    """As matplotlib counts: times in days."""
    return edges / DAY if isinstance(column, TimestampColumn) else edges


def _moment(days: float, unit: Literal["D", "m"]) -> str:
    return str(np.datetime_as_string(np.datetime64(round(days * DAY), "s"), unit=unit))
