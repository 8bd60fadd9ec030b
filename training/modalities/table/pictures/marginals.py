"""Each column by itself: real rows beside synthetic ones."""

import math
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from serving.bundle.tables import OBSERVED, Cells, Modelled, Number, Schema
from training.charts import FAINT, Still, chart_png, figure, short, styled
from training.modalities.table.pictures.shown_columns import (
    NAMES,
    REAL,
    SYNTHETIC,
    Axis,
    Doubles,
    axis_of,
    drawn,
    label,
    places_on,
    shares,
)

MOST_COLUMNS: Final = 24
ACROSS: Final = 3
INTERVALS: Final = 30
"""At most; fewer of few rows, whose bars would differ by chance."""
FEWEST: Final = 8
CATEGORIES: Final = 8
PEAK: Final = 0.5
"""Share of rows in one interval from which on the others would be too low to see."""
WIDTH: Final = 9.6
"""Inches."""
HEIGHT: Final = 1.95
"""Inches of a row of panels."""


def marginals(schema: Schema, real: Cells, synthetic: Cells) -> Still:
    """A panel a column, in the table's order; of more than 24 those whose shares differ most."""
    intervals = min(INTERVALS, max(FEWEST, round(len(real) ** 0.5)))
    axes = [
        axis_of(column, place, real, intervals=intervals, categories=CATEGORIES)
        for place, column in enumerate(schema.modelled)
    ]
    both = [
        [shares(axis, places_on(axis, place, cells)) for cells in (real, synthetic)]
        for place, axis in enumerate(axes)
    ]
    apart = [float(np.abs(a - b).sum()) / 2 for a, b in both]
    shown = sorted(np.argsort(apart, kind="stable")[::-1][:MOST_COLUMNS].tolist())
    down = math.ceil(len(shown) / ACROSS)
    height = HEIGHT * down + 0.35
    with styled():
        made = figure(WIDTH, height)
        for number, place in enumerate(shown):
            row, column = divmod(number, ACROSS)
            is_category = bool(axes[place].names)
            left = (0.125 if is_category else 0.05) + column / ACROSS
            bottom = 1 - (0.35 + HEIGHT * (row + 0.8)) / height
            box = (left, bottom, 0.32 - (0.125 if is_category else 0.05), HEIGHT * 0.62 / height)
            ax = made.add_axes(box)
            ax.set_title(_title(schema.modelled[place], place, real), size=9, loc="left", x=0)
            _panel(ax, axes[place], schema.modelled[place], both[place])
        handles = [Patch(color=colour, label=name) for name, colour in NAMES.items()]
        made.legend(handles=handles, loc="upper right", ncols=2, labelcolor=FAINT, fontsize=9)
    return Still("marginals.png", "Each column, real beside synthetic", chart_png(made))


def _title(column: Modelled, place: int, real: Cells) -> str:
    """With the share that is missing, which the bars of a number do not have."""
    missing = float((real.states[:, place] != OBSERVED).mean()) if isinstance(column, Number) else 0.0
    return short(column.name) + (f" ({missing:.0%} missing)" if missing >= 0.005 else "")


def _panel(ax: Axes, axis: Axis, column: Modelled, both: list[Doubles]) -> None:
    real, synthetic = both
    ax.tick_params(labelsize=7, length=2)
    if axis.names:
        at = np.arange(len(axis.names))
        ax.barh(at - 0.2, real, 0.4, color=REAL)
        ax.barh(at + 0.2, synthetic, 0.4, color=SYNTHETIC)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        ax.xaxis.set_major_formatter(lambda share, _: f"{share:.3g}" if 0 < share < 0.01 else f"{share:.0%}")
        label(ax, axis, column, horizontal=False)
        return
    edges = drawn(axis.edges, column)
    ax.stairs(real, edges, fill=True, color=REAL)
    ax.stairs(synthetic, edges, color=SYNTHETIC, linewidth=1.3)
    if max(real.max(), synthetic.max()) > PEAK:
        ax.set_yscale("function", functions=(_root, np.square))
        ax.set_title("height: root", size=7, loc="right", color=FAINT)
    ax.set_yticks([])
    ax.set_ylim(bottom=0)
    ax.grid(visible=False)
    label(ax, axis, column, horizontal=True)


def _root(share: Doubles) -> Doubles:
    return np.sqrt(np.maximum(share, 0))
