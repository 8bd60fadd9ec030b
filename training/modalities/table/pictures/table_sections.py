"""The sections of a report on a table: pictures, with what to look for in each in plain words."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from serving.bundle.tables import Schema
from training.charts import Still
from training.modalities.table.evaluation.taken import Samples, at_most
from training.modalities.table.pictures.association_maps import association_maps, associations_of
from training.modalities.table.pictures.marginals import MOST_COLUMNS, marginals
from training.modalities.table.pictures.missing_values import missing_values, nullable_places
from training.modalities.table.pictures.pair_plots import pair_plots, strongest_pairs

SHOWN_ROWS: Final = 20_000
"""Of each table."""


class TableSection(NamedTuple):
    """The fields of a section of the report's page."""

    anchor: str
    title: str
    words: Sequence[str]
    """Paragraphs of plain text."""
    pictures: Sequence[Still]


def table_sections(schema: Schema, samples: Samples, *, seed: int = 0) -> list[TableSection]:
    """Marginals, pairs, associations and missing values: held-out rows beside synthetic ones.

    Held-out rows, because a model that has learned its training rows by heart would look perfect beside
    those.
    What a table does not have, like pairs of one column, has no section.
    """
    rows = min(SHOWN_ROWS, len(samples.held_out), len(samples.synthetic))  # of each: what is rare is as rare
    real, synthetic = (at_most(cells, rows, seed) for cells in (samples.held_out, samples.synthetic))
    if not rows:
        return []
    found = [_columns(schema, marginals(schema, real, synthetic))]
    if len(schema.modelled) > 1:
        of_real, of_synthetic = associations_of(schema, real, synthetic)
        pairs = strongest_pairs(of_real)
        if pairs:
            found.append(_pairs(pair_plots(schema, real, synthetic, pairs)))
        found.append(_associations(association_maps(schema, of_real, of_synthetic)))
    if nullable_places(schema):
        found.append(_missing(missing_values(schema, real, synthetic)))
    return found


def _columns(schema: Schema, picture: Still) -> TableSection:
    words = [
        "Every column by itself: shaded, rows that the model has not seen; red, as many records of its own. "
        "The last bar at either end holds what lies beyond.",
        "Look for peaks that are missing or smeared, for rare categories that have vanished, and for "
        "values at the edges. Right columns are the easy part: they say nothing about whether the values of "
        "one record fit together.",
    ]
    if len(schema.modelled) > MOST_COLUMNS:
        words.append(f"Shown are the {MOST_COLUMNS} columns that differ most, of {len(schema.modelled):,}.")
    return TableSection("columns", "Each column by itself", words, [picture])


def _pairs(picture: Still) -> TableSection:
    words = [
        "The columns that belong together most, two at a time: the darker, the more rows lie there. Left of "
        "each pair rows that the model has not seen, right its own records, on one scale.",
        "Look for the same ridges, corners and empty places. A shadow in the right picture where the left is "
        "white is a combination that does not exist.",
    ]
    return TableSection("pairs", "Columns that belong together", words, [picture])


def _associations(picture: Still) -> TableSection:
    words = [
        "How strongly every two columns belong together: of two numbers the correlation, red where they "
        "rise together, blue where one falls as the other rises; of other pairs Cramér's V, from white for "
        "nothing to red for everything.",
        "The first two maps should look alike. The third is their difference, on a scale of its own: a row "
        "of one colour is a column that the model ties too loosely (blue) or too tightly (red) to others.",
    ]
    return TableSection("associations", "How all columns belong together", words, [picture])


def _missing(picture: Still) -> TableSection:
    words = [
        "Missing values are data: the model learns which cells are missing, and its records lack them alike. "
        "Left, the share of rows that lack a column. Right, which columns lack theirs in the same rows, in "
        "the order of the bars: red together, blue one or the other.",
        "Look for bars of equal length, and for squares that are in one map alone.",
    ]
    return TableSection("missing", "Where values are missing", words, [picture])
