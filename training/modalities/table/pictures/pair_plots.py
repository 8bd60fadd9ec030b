"""The pairs of columns that belong together most, in real rows and in synthetic ones."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes

from serving.bundle.tables import Cells, Modelled, Schema, TimestampColumn
from training.charts import Still, chart_png, figure, short, styled
from training.modalities.table.pictures.shown_columns import (
    SHARES,
    Axis,
    Doubles,
    axis_of,
    drawn,
    label,
    places_on,
)

MOST_PAIRS: Final = 6
USES: Final = 2
"""Pairs in which one column may appear, so that six pairs show more than one column's."""
LEAST: Final = 0.1
"""Weaker ones are hardly more than chance."""
INTERVALS: Final = 24
"""At most; fewer of few rows, which would lie in cells of their own."""
FEWEST: Final = 6
CATEGORIES: Final = 7
WIDTH: Final = 9.6
HEIGHT: Final = 2.9


def strongest_pairs(association: Doubles) -> list[tuple[int, int]]:
    """At most six by the size of [C, C], from 0.1 on, each column in at most two."""
    strength = np.nan_to_num(np.abs(np.tril(association, -1)))
    used = np.zeros(len(association), int)
    found: list[tuple[int, int]] = []
    for flat in np.argsort(-strength, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(association))
        if len(found) == MOST_PAIRS or strength[i, j] < LEAST:
            break
        if max(used[i], used[j]) < USES:
            found.append((j, i))
            used[[i, j]] += 1
    return found


def pair_plots(schema: Schema, real: Cells, synthetic: Cells, pairs: list[tuple[int, int]]) -> Still:
    """Two pairs a row, each twice: the darker, the more rows lie there; both of a pair on one scale."""
    height = HEIGHT * ((len(pairs) + 1) // 2)
    intervals = min(INTERVALS, max(FEWEST, round(1.6 * len(real) ** (1 / 3))))
    with styled():
        made = figure(WIDTH, height)
        for number, (x, y) in enumerate(pairs):
            row, half = divmod(number, 2)
            columns = schema.modelled[x], schema.modelled[y]
            axes = [
                axis_of(column, place, real, intervals=intervals, categories=CATEGORIES)
                for place, column in zip((x, y), columns, strict=True)
            ]
            tables = [_table(axes, (x, y), cells) for cells in (real, synthetic)]
            largest = float(max(table.max() for table in tables)) or 1.0
            for side, (name, table) in enumerate(zip(("real", "synthetic"), tables, strict=True)):
                left = 0.105 + 0.5 * half + 0.2 * side
                box = (left, 1 - (HEIGHT * (row + 0.72)) / height, 0.185, HEIGHT * 0.6 / height)
                ax = made.add_axes(box)
                _panel(ax, table, axes, columns, largest, is_first=side == 0)
                ax.set_title(name, size=8.5, loc="left")
    return Still("pairs.png", "Pairs of columns, real beside synthetic", chart_png(made))


def _table(axes: list[Axis], places: tuple[int, int], cells: Cells) -> Doubles:
    """[places of y, places of x] share of the rows, as its root: rare cells are seen beside frequent ones."""
    x, y = (places_on(axis, place, cells) for axis, place in zip(axes, places, strict=True))
    there = ~(np.isnan(x) | np.isnan(y))
    counts, _, _ = np.histogram2d(y[there], x[there], [axes[1].edges, axes[0].edges])
    return np.asarray(np.sqrt(counts / max(1.0, counts.sum())))


def _panel(
    ax: Axes,
    table: Doubles,
    axes: list[Axis],
    columns: tuple[Modelled, Modelled],
    largest: float,
    *,
    is_first: bool,
) -> None:
    x, y = (drawn(axis.edges, column) for axis, column in zip(axes, columns, strict=True))
    ax.pcolormesh(x, y, table, cmap=SHARES, vmin=0, vmax=largest, rasterized=True)
    ax.grid(visible=False)
    ax.tick_params(labelsize=6.5, length=2)
    for axis, column, horizontal in zip(axes, columns, (True, False), strict=True):
        label(ax, axis, column, horizontal=horizontal)
    if axes[0].names or isinstance(columns[0], TimestampColumn):
        ax.tick_params(axis="x", labelrotation=35)
        for text in ax.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    ax.set_xlabel(short(columns[0].name), size=8)
    if is_first:
        ax.set_ylabel(short(columns[1].name), size=8)
    else:
        ax.set_yticklabels([])
