"""Where cells are missing: how many of each column, and which columns lack theirs together."""

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from serving.bundle.tables import MISSING, Cells, Schema
from training.charts import FAINT, Still, chart_png, figure, short, styled
from training.modalities.table.pictures.shown_columns import NAMES, REAL, SYNTHETIC, Doubles

MOST_COLUMNS: Final = 24
WIDTH: Final = 9.6


def nullable_places(schema: Schema) -> list[int]:
    """Of the columns that had missing cells in training, in the order of the table."""
    return [place for place, column in enumerate(schema.modelled) if column.nullable]


def missing_values(schema: Schema, real: Cells, synthetic: Cells) -> Still:
    """Bars of the share that is missing; beside them how far two columns lack cells together, from -1 to 1.

    Of at most 24 columns, those that lack most. The schema has at least one nullable column.
    """
    places = np.array(nullable_places(schema))
    missing = [(cells.states[:, places] == MISSING).astype(np.float64) for cells in (real, synthetic)]
    most = np.sort(np.argsort(-missing[0].mean(axis=0), kind="stable")[:MOST_COLUMNS])
    names = [short(schema.modelled[place].name) for place in places[most]]
    missing = [gaps[:, most] for gaps in missing]
    height = max(2.3, 0.9 + 0.26 * len(names))
    has_maps = len(names) > 1
    with styled():
        made = figure(WIDTH, height)
        bars = made.add_axes((0.16, 0.55 / height, 0.3 if has_maps else 0.8, 1 - 1.1 / height))
        _bars(bars, names, [gaps.mean(axis=0) for gaps in missing])
        if has_maps:
            _maps(made, names, [_together(gaps) for gaps in missing], height)
    return Still("missing.png", "Where values are missing", chart_png(made))


def _bars(ax: Axes, names: list[str], shares: list[Doubles]) -> None:
    at = np.arange(len(names))
    for shift, share, colour in zip((-0.2, 0.2), shares, (REAL, SYNTHETIC), strict=True):
        ax.barh(at + shift, share, 0.4, color=colour)
    ax.set_yticks(at, names, size=8)
    ax.invert_yaxis()
    ax.set_xlim(0, max(0.01, 1.08 * max(float(share.max()) for share in shares)))
    ax.xaxis.set_major_formatter(lambda share, _: f"{share:.3g}" if share < 0.01 else f"{share:.0%}")
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.tick_params(axis="x", labelsize=8)
    ax.set_title("share of rows that lack it", size=9, loc="left")
    ax.grid(visible=False, axis="y")
    handles = [Patch(color=colour, label=name) for name, colour in NAMES.items()]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, 0), ncols=2, labelcolor=FAINT, fontsize=8,
              borderaxespad=1.8)  # fmt: skip


def _maps(made: Figure, names: list[str], together: list[Doubles], height: float) -> None:
    side = min(0.2, (height - 1.1) / WIDTH)
    for number, (name, values) in enumerate(zip(("real", "synthetic"), together, strict=True)):
        left = 0.52 + number * (side + 0.03)
        ax = made.add_axes((left, 1 - (0.55 + WIDTH * side) / height, side, WIDTH * side / height))
        drawn: Any = ax.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(f"lacking together, {name}", size=9, loc="left")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        if number:
            bar = made.add_axes(
                (left + side + 0.01, 1 - (0.55 + WIDTH * side) / height, 0.008, WIDTH * side / height)
            )
            made.colorbar(drawn, cax=bar).ax.tick_params(labelsize=6.5, labelcolor=FAINT, length=0)


def _together(gaps: Doubles) -> Doubles:
    """[C, C] correlation of what is missing; 0 where a column lacks all or nothing."""
    centred = gaps - gaps.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    norms[norms == 0] = np.inf
    return np.asarray((centred / norms).T @ (centred / norms))
