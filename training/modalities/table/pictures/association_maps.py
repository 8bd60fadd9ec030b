"""How strongly all columns belong together: in real rows, in synthetic ones, and the difference."""

from typing import Final

import numpy as np

from serving.bundle.tables import Cells, Schema
from training.charts import FAINT, Still, chart_png, figure, short, styled
from training.modalities.table.evaluation.associations import Intervals, association_matrix
from training.modalities.table.pictures.shown_columns import Doubles

MOST_COLUMNS: Final = 30
NAMED: Final = 20
"""More columns than this have smaller names."""
WIDTH: Final = 9.6
LETTER: Final = 0.0095
"""Inches of a letter, for each point of its size."""
SMALLEST_SCALE: Final = 0.1
"""Of the differences: smaller ones are to look small."""


def associations_of(schema: Schema, real: Cells, synthetic: Cells) -> tuple[Doubles, Doubles]:
    """See ``association_matrix``; numbers beside categories lie in intervals of the real rows."""
    intervals = Intervals.of(schema, real)
    return association_matrix(schema, real, intervals), association_matrix(schema, synthetic, intervals)


def association_maps(schema: Schema, real: Doubles, synthetic: Doubles) -> Still:
    """Three maps of [k, k] each; of at most 30 columns, those that belong to others most in the real rows."""
    strength = np.nan_to_num(np.abs(real - np.eye(len(real)))).sum(axis=1)
    shown = np.sort(np.argsort(-strength, kind="stable")[:MOST_COLUMNS])
    names = [short(schema.modelled[place].name) for place in shown]
    pick = np.ix_(shown, shown)
    difference = np.nan_to_num(synthetic - real)[pick]
    scale = max(SMALLEST_SCALE, float(np.abs(difference).max()))
    maps = [
        ("real", real[pick], 1.0),
        ("synthetic", synthetic[pick], 1.0),
        ("synthetic − real", difference, scale),
    ]
    size = 7 if len(names) <= NAMED else 5.5
    room = 0.2 + max(map(len, names)) * size * LETTER  # inches for the names
    side = (WIDTH - room - 0.9) / 3
    height = side + room + 0.35
    with styled():
        made = figure(WIDTH, height)
        for number, (title, values, largest) in enumerate(maps):
            left = room + number * (side + 0.1) + (0.15 if number == 2 else 0)
            ax = made.add_axes((left / WIDTH, room / height, side / WIDTH, side / height))
            drawn = ax.imshow(values, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
            ax.set_title(title, size=10, loc="left")
            ax.grid(visible=False)
            ax.set_xticks(range(len(names)), names, rotation=90, size=size)
            ax.set_yticks(range(len(names)), names if number == 0 else [], size=size)
            ax.tick_params(length=0)
        bar = made.add_axes(((left + side + 0.06) / WIDTH, room / height, 0.08 / WIDTH, side / height))
        made.colorbar(drawn, cax=bar).ax.tick_params(labelsize=6, labelcolor=FAINT, length=0, pad=2)
    return Still("associations.png", "How columns belong together", chart_png(made))
