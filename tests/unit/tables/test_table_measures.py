"""Measures of tables by themselves: distances, constraints, what is learned, odd rows and cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundle.tables import CategoryColumn, Cells, Schema
from tests.support.table_samples import real_rows, samples, staff
from tests.support.table_schemas import dates, number
from training.modalities.table.evaluation import closest_record, kept_constraints, odd_rows
from training.modalities.table.evaluation.classifier_inputs import iterations_for
from training.modalities.table.evaluation.closest_record import distances, ranges_of
from training.modalities.table.evaluation.quality_report import pair_scores, shape_scores
from training.modalities.table.evaluation.taken import rows_for
from training.modalities.table.evaluation.trained_on_synthetic import learned_from

MIXED = Schema(
    columns=(
        number("x", [0.0, 10.0], nullable=True),
        CategoryColumn(name="kind", nullable=True, categories=("a", "b", "c"), rest=False),
    )
)


def cells(rows):
    """Of MIXED; None is missing."""
    states = np.array([[-1 if cell is None else 1 for cell in row] for row in rows], np.int8)
    return Cells(np.array([[0.0 if cell is None else cell for cell in row] for row in rows], float), states)


def test_distance_is_gowers():
    """Numbers by the range, categories 0 or 1, missing as far from a value as can be; the mean of columns."""
    records = cells([(0, 0), (10, 0)])
    ours = cells([(0, 0), (2.5, 0), (2.5, 1), (None, 0), (None, None)])
    found = distances(MIXED, ours, records, ranges_of(MIXED, records))
    assert found.tolist() == [0, 0.125, 0.625, 0.5, 1]
    missing = cells([(None, None)])
    assert distances(MIXED, missing, missing, ranges_of(MIXED, records)).tolist() == [0]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_closest_record_is_the_closest_of_all(rows, records, seed):
    """Blocks change nothing: each distance is the least of those to each record alone."""
    schema, ours, theirs = staff(), real_rows(rows, seed), real_rows(records, seed + 1)
    ranges = ranges_of(schema, theirs)
    alone = [distances(schema, ours, theirs.rows(slice(i, i + 1)), ranges) for i in range(records)]
    np.testing.assert_array_equal(distances(schema, ours, theirs, ranges), np.min(alone, axis=0))


def test_wide_tables_are_judged_by_fewer_rows():
    """Memory and time are bounded: rows and trees, and for distances rows squared times columns."""
    assert [iterations_for(columns) for columns in (1, 200, 1000, 10_000)] == [100, 100, 20, 10]
    assert [rows_for(columns) for columns in (1, 100, 1000, 10_000)] == [50_000, 50_000, 5000, 500]
    assert closest_record.rows_at_most(10) == 10_000
    for columns in (100, 1000, 10_000):
        rows = closest_record.rows_at_most(columns)
        assert 100 <= rows < 10_000
        assert rows**2 * columns <= closest_record.MOST_DIFFERENCES


def test_broken_constraints_are_counted():
    """Each kind by the share of its cells, missing ones not among them; an order by its rows."""
    schema = Schema(
        columns=(
            number("n", [0.5, 10.5], integer=True),
            number("d", [0.0, 5.0], decimals=1, nullable=True),
            dates("from", [100, 110]),
            dates("to", [100, 120], nullable=True),
        ),
        orders=(("from", "to"),),
    )
    day = 86400.0
    values = np.array([
        [1, 0.1, 100 * day, 100 * day],
        [2.5, 0.3, 105 * day, 101 * day],
        [11, 0.25, 100 * day + 5, 102 * day],
        [3, 0.0, 103 * day, 0.0],
    ])  # fmt: skip
    states = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, -1, 1, -1]], np.int8)
    found = dict(kept_constraints.checks(schema, Cells(values, states)))
    assert found == {
        "bounds": {"kept": 13 / 14, "of": 14},
        "integers": {"kept": 3 / 4, "of": 4},
        "decimals": {"kept": 2 / 3, "of": 3},
        "resolution of times": {"kept": 6 / 7, "of": 7},
        "from <= to": {"kept": 2 / 3, "of": 3},
    }


@pytest.mark.parametrize(
    ("target", "figure", "least"), [("pay", "r2", 0.8), ("job", "auc", 0.7), (None, "auc", 0.9)]
)
def test_every_kind_of_target_is_learned(target, figure, least):
    """A number by R², more than two classes by macro AUC, two by AUC; the label unless another is named."""
    found = learned_from(staff(), samples(1500), target=target)
    assert found.protocol["target"] == (target or "married")
    for row in found.tables["learned from"].values():
        assert row[figure] > least


def test_classes_that_were_not_learned_cost():
    """A class that no synthetic row has counts as not told apart; one class alone teaches nothing."""
    rows = samples(800)
    place = staff().place["job"]
    clerks = rows.synthetic.rows(rows.synthetic.values[:, place] < 2)
    few = learned_from(staff(), rows._replace(synthetic=clerks), target="job").tables["learned from"]
    assert few["synthetic"]["auc"] < few["real"]["auc"]
    one = rows.synthetic.rows((rows.synthetic.values[:, place] == 1) & (rows.synthetic.states[:, place] == 1))
    none = learned_from(staff(), rows._replace(synthetic=one), target="job").tables["learned from"]
    assert none["synthetic"]["auc"] == 0.5


@pytest.mark.parametrize(
    ("schema", "target", "words"),
    [
        (MIXED, None, "target: want the name of a column, for the table has no label"),
        (staff(), "salary", "target: want a modelled column, came 'salary'"),
    ],
)
def test_a_target_must_be_there(schema, target, words):
    """One line that says what was wanted."""
    with pytest.raises(ValueError, match=words):
        learned_from(schema, samples(20), target=target)


def test_shapes_and_trends_by_hand():
    """Total variation of categories and of pairs, KS of numbers, on tables small enough to count."""
    real = cells([(0, 0), (1, 0), (2, 1), (None, 1)])
    synthetic = cells([(0, 0), (0, 1), (0, 1), (2, 2)])
    assert shape_scores(MIXED, real, synthetic) == pytest.approx({"x": 1 - (3 / 4 - 1 / 3), "kind": 0.75})
    (pair,) = pair_scores(MIXED, real, synthetic)
    assert (pair.first, pair.second) == ("x", "kind")
    # real: (0, a), (interval 6, a), (last, b), (last, b); synthetic: (0, a), 2 x (0, b), (last, c)
    assert pair.score == pytest.approx(0.25)


def test_many_columns_have_a_sample_of_pairs():
    """Of 200 columns 5,000 pairs are looked at, each once."""
    schema = Schema(columns=tuple(number(f"x{i}", [-9, 9]) for i in range(200)))
    rows = Cells(np.random.default_rng(0).standard_normal((50, 200)), np.ones((50, 200), np.int8))
    found = pair_scores(schema, rows, rows)
    assert len({(pair.first, pair.second) for pair in found}) == len(found) == 5000
    assert {pair.score for pair in found} == {1}


def test_numbers_of_any_size_have_a_correlation():
    """Squares of the largest numbers a table may have do not overflow."""
    schema = Schema(columns=(number("x", [-9, 9]), number("y", [-9, 9])))
    values = np.random.default_rng(1).standard_normal((100, 1)) * np.array([[1e100, -1e-100]])
    (pair,) = pair_scores(schema, *[Cells(values, np.ones((100, 2), np.int8))] * 2)
    assert pair.strength == pytest.approx(1)
    assert pair.strong


def test_odd_rows_are_found_by_their_score():
    """A score that knows has AUROC 1, its contrary 0; a NaN counts as the oddest."""
    odd = np.array([False, False, False, True, True])
    score = np.array([0.0, 1.0, 2.0, 3.0, np.nan])
    found = odd_rows.row_auroc({"knows": score, "contrary": -np.nan_to_num(score, nan=9)}, odd)
    assert found["knows"] == {"auroc": 1, "aupr": 1, "fpr95": 0}
    assert found["contrary"]["auroc"] == 0
    assert found["contrary"]["fpr95"] == 1
    with pytest.raises(ValueError, match="odd rows: want some and not all, came 0 of 5"):
        odd_rows.row_auroc({"x": score}, np.zeros(5, bool))
    with pytest.raises(ValueError, match=r"scores: want \[5\], came \[4\]"):
        odd_rows.row_auroc({"x": score[:4]}, odd)


def test_odd_cells_are_real_cells_in_wrong_rows():
    """Half of the rows have one cell of another row; what says so exactly has AUROC 1 in every column."""
    rows = real_rows(1000, 0)
    changed, odd = odd_rows.with_odd_cells(rows, seed=3)
    assert 300 < odd.sum() <= 500
    assert (odd.sum(axis=1) <= 1).all()
    assert not odd[1::2].any()
    for place in range(odd.shape[1]):
        assert np.isin(changed.values[odd[:, place], place], rows.values[:, place]).all()
    np.testing.assert_array_equal(changed.values[~odd], rows.values[~odd])
    names = [column.name for column in staff().modelled]
    found = odd_rows.column_auroc(odd.astype(float), odd, names)
    assert set(found) == {"all", *names}
    assert all(row["auroc"] == 1 for row in found.values())
    assert found["all"]["found"] == 1
