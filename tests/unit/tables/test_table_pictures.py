"""The pictures of a table: what they are made of, and that every kind of table has them."""

import io

import numpy as np
import pytest
from PIL import Image

from serving.bundle.tables import BooleanColumn, CategoryColumn, Cells, Schema
from tests.support.table_samples import adult, real_rows, samples, shuffled, staff
from tests.support.table_schemas import dates, number
from training.modalities.table.evaluation.associations import (
    Intervals,
    association_matrix,
    cramers_v,
    cramers_v_of,
)
from training.modalities.table.evaluation.taken import Samples, at_most
from training.modalities.table.pictures.marginals import MOST_COLUMNS, marginals
from training.modalities.table.pictures.pair_plots import MOST_PAIRS, strongest_pairs
from training.modalities.table.pictures.shown_columns import axis_of, places_on, shares
from training.modalities.table.pictures.table_sections import table_sections

FILES = ["marginals.png", "pairs.png", "associations.png", "missing.png"]


def sizes(sections):
    """File to size in pixels of each picture, which is read as a PNG."""
    found = {}
    for section in sections:
        assert section.title
        assert all(section.words)
        for picture in section.pictures:
            with Image.open(io.BytesIO(picture.content())) as image:
                assert image.format == "PNG"
                assert len(image.convert("L").getcolors()) > 10, f"{picture.file} is blank"
                found[picture.file] = image.size
    return found


def test_a_table_has_its_four_pictures():
    """Marginals, pairs, associations, missing values: in that order, the same bytes whenever they are made."""
    first, second = (table_sections(staff(), samples(300)) for _ in range(2))
    assert list(sizes(first)) == FILES
    assert first == second


def test_what_is_not_there_has_no_section():
    """One column has no pairs, full columns lack nothing, independent columns have no strong pairs."""
    rows = Cells(np.random.default_rng(0).standard_normal((500, 2)), np.ones((500, 2), np.int8))
    two = Schema(columns=(number("x", [-5, 5]), number("y", [-5, 5])))
    one = Schema(columns=(number("x", [-5, 5]),))
    only = Cells(rows.values[:, :1], rows.states[:, :1])
    assert list(sizes(table_sections(one, Samples(only, only, only)))) == ["marginals.png"]
    assert list(sizes(table_sections(two, Samples(rows, rows, rows)))) == [
        "marginals.png",
        "associations.png",
    ]


def test_hardly_any_rows_are_drawn():
    """A picture of one row is no error; of none there is no picture."""
    assert next(iter(sizes(table_sections(staff(), samples(1))))) == "marginals.png"
    assert table_sections(staff(), samples(0)) == []


def test_all_missing_and_names_in_any_script_are_drawn():
    """Columns without a cell, names that matplotlib would take for formulas or hide, times of all centuries."""
    schema = Schema(
        columns=(
            number("$x_1$", [0.0, 1.0], nullable=True),
            CategoryColumn(name="_hidden", nullable=True, categories=("$a$", "是", "b" * 100), rest=False),
            BooleanColumn(name="été", nullable=True),
            dates("when", [-700_000, 2_900_000], nullable=True),
        )
    )
    empty = Cells(np.zeros((50, 4)), np.full((50, 4), -1, np.int8))
    full = Cells(
        np.array([[0.5, 2, 1, -700_000 * 86400.0], [0.7, 0, 0, 2.9e6 * 86400]] * 25),
        np.ones((50, 4), np.int8),
    )
    for real, synthetic in ((empty, full), (full, empty)):
        assert {"marginals.png", "missing.png"} <= set(
            sizes(table_sections(schema, Samples(real, real, synthetic)))
        )


def test_wide_tables_have_bounded_pictures():
    """Of 150 columns at most 24 have a panel, and those are the ones that differ."""
    schema = Schema(columns=tuple(number(f"x{i}", [-9, 9]) for i in range(150)))
    draw = np.random.default_rng(0)
    real, synthetic = (
        Cells(draw.standard_normal((100, 150)), np.ones((100, 150), np.int8)) for _ in range(2)
    )
    found = sizes(table_sections(schema, Samples(real, real, synthetic)))
    few = Schema(columns=schema.columns[:MOST_COLUMNS])
    cells = Cells(real.values[:, :MOST_COLUMNS], real.states[:, :MOST_COLUMNS])
    with Image.open(io.BytesIO(marginals(few, cells, cells).content())) as image:
        assert found["marginals.png"] == image.size
    assert max(max(size) for size in found.values()) < 5000


def test_every_cell_has_its_place():
    """Shares of a panel sum to 1: rare categories are together, missing ones apart, large numbers in the last bar."""
    column = CategoryColumn(name="c", nullable=True, categories=tuple("abcdefgh"), rest=False)
    values = np.array([[0.0]] * 5 + [[1.0]] * 3 + [[7.0], [6.0], [0.0]])
    cells = Cells(values, np.array([[1]] * 10 + [[-1]], np.int8))
    axis = axis_of(column, 0, cells, intervals=10, categories=2)
    assert axis.names == ("a", "b", "(others)", "(missing)")
    assert shares(axis, places_on(axis, 0, cells)).tolist() == pytest.approx([5 / 11, 3 / 11, 2 / 11, 1 / 11])
    whole = number("n", [-0.5, 9.5], integer=True)
    real = Cells(np.arange(10.0)[:, None], np.ones((10, 1), np.int8))
    axis = axis_of(whole, 0, real, intervals=30, categories=8)
    assert shares(axis, places_on(axis, 0, real)).tolist() == pytest.approx([0.1] * 10)
    beyond = Cells(np.array([[100.0]]), np.ones((1, 1), np.int8))
    assert shares(axis, places_on(axis, 0, beyond))[-1] == 1


def test_names_that_begin_alike_stay_apart():
    """Categories are told by their place, not by the name that fits into a panel."""
    column = CategoryColumn(name="c", nullable=False, categories=("x" * 40 + "1", "x" * 40 + "2"), rest=False)
    cells = Cells(np.array([[0.0], [1.0], [1.0], [1.0]]), np.ones((4, 1), np.int8))
    axis = axis_of(column, 0, cells, intervals=9, categories=9)
    assert shares(axis, places_on(axis, 0, cells)).tolist() == [0.25, 0.75]


def test_pairs_are_the_strongest_and_of_many_columns():
    """In order of strength, no column more than twice, nothing that is hardly related."""
    schema, rows = staff(), real_rows(2000, 0)
    association = association_matrix(schema, rows, Intervals.of(schema, rows))
    pairs = strongest_pairs(association)
    strength = [abs(association[pair]) for pair in pairs]
    assert strength == sorted(strength, reverse=True)
    assert min(strength) > 0.1
    assert len(pairs) <= MOST_PAIRS
    assert max(np.bincount(np.ravel(pairs))) <= 2
    assert {schema.modelled[place].name for place in pairs[0]} == {"age", "married"}
    independent = shuffled(rows, 1)
    weak = association_matrix(schema, independent, Intervals.of(schema, rows))
    assert np.abs(weak - np.eye(len(weak))).max() < 0.1


def test_cramers_v_is_one_of_a_function_and_nought_of_the_independent():
    """The definition's two ends."""
    a = np.arange(12) % 3
    assert cramers_v(a, (a + 1) % 3) == pytest.approx(1)
    assert cramers_v(np.repeat([0, 1], 6), np.tile([0, 1], 6)) == pytest.approx(0)
    assert cramers_v(a, np.zeros(12, int)) == 0


def test_chance_is_no_association():
    """Twenty categories each in 300 independent rows: the plain figure is far from 0, the corrected one near."""
    draw = np.random.default_rng(0)
    pairs = [draw.integers(20, size=(2, 300)) for _ in range(20)]
    assert np.mean([cramers_v(*pair) for pair in pairs]) < 0.06
    plain = []
    for a, b in pairs:
        cells, counts = np.unique(a * 20 + b, return_counts=True)
        plain.append(cramers_v_of(cells // 20, cells % 20, counts / 300))
    assert min(plain) > 0.2


def test_both_sides_show_as_many_rows():
    """More records than real rows change no picture but by which of them are drawn."""
    real, many = real_rows(200, 0), real_rows(900, 1)
    few = at_most(many, 200, 0)
    a, b = (table_sections(staff(), Samples(real, real, synthetic)) for synthetic in (many, few))
    assert a == b


@pytest.mark.slow
def test_adult_is_drawn(data_dir):
    """The pictures of a known table."""
    schema, rows = adult(data_dir, 5000)
    assert list(sizes(table_sections(schema, rows._replace(synthetic=shuffled(rows.train, 0))))) == FILES
