"""Rows for training, validation and test: by seed, by label, and no row in two of them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from serving.bundle.tables import CategoryColumn, Cells, Schema, draw, to_features
from tests.support.table_schemas import number, parameters_of, schemas, uniforms_of
from training.modalities.table.reading import read_table
from training.modalities.table.reading.table_data import split_rows
from training.training_error import TrainingError

SEEDS = st.integers(0, 1000)
LABELLED = Schema(
    columns=(
        CategoryColumn(name="kind", nullable=False, categories=("a", "b", "c"), rest=False),
        number("n", [0, 1, 2]),
    ),
    label="kind",
)


def labelled(counts, seed=0):
    kinds = np.repeat(np.arange(len(counts)), counts)
    values = np.stack([kinds, np.random.default_rng(seed).random(len(kinds))], axis=1)
    return Cells(values, np.ones(values.shape, np.int8))


@given(schemas(), SEEDS, st.floats(0.05, 0.3), st.floats(0.05, 0.3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_every_row_is_in_one_split(schema, seed, val_fraction, test_fraction):
    """And equal rows are in the same one, however many there are."""
    cells = draw(schema, parameters_of(schema, 200, seed), uniforms_of(schema, 200, seed))
    _, counts = np.unique(np.concatenate([cells.values, cells.states], axis=1), axis=0, return_counts=True)
    assume((counts == 1).sum() >= 60)  # of a table of a few kinds every row is equal to many others
    parts = split_rows(schema, cells, val_fraction, test_fraction, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    seen = [{(*cells.values[row], *cells.states[row]) for row in part} for part in parts]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


def test_a_seed_is_a_split():
    """The same for the same seed, another for another."""
    cells = labelled([100, 60, 40])
    first, again, other = (split_rows(LABELLED, cells, 0.1, 0.2, seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert set(first.test) != set(other.test)


def test_labels_have_their_shares():
    """In each split, to the row; a kind of one row is trained on."""
    cells = labelled([100, 60, 1])
    parts = split_rows(LABELLED, cells, 0.1, 0.2, 0)
    counts = [np.bincount(cells.values[part, 0].astype(int), minlength=3).tolist() for part in parts]
    assert counts == [[70, 42, 1], [10, 6, 0], [20, 12, 0]]


def test_a_row_that_is_there_many_times_is_trained_on():
    """It would be a split by itself; the others are shared out."""
    cells = labelled([100, 100])
    cells.values[:80] = cells.values[0]
    parts = split_rows(LABELLED, cells, 0.1, 0.1, 0)
    assert set(range(80)) <= set(parts.train.tolist())
    assert [len(part) for part in parts] == [80 + 16 + 80, 2 + 10, 2 + 10]


def test_what_cannot_be_split_is_refused():
    """All rows equal: there is nothing to test on."""
    with pytest.raises(TrainingError, match="validation: want rows for it, came none: of 30 rows 1 differ"):
        split_rows(LABELLED, Cells(np.zeros((30, 2)), np.ones((30, 2), np.int8)), 0.1, 0.1, 0)


def test_the_schema_of_the_training_rows_knows_no_others(tmp_path):
    """Numbers beyond those of the training are in its tails; columns, kinds and what was said stay."""
    numbers = np.arange(20_000) + 10
    frame = pa.table({
        "n": numbers, "m": numbers + numbers % 3, "said": numbers % 7 / 2, "kind": [f"k{i % 5}" for i in numbers],
    })  # fmt: skip
    said = tmp_path / "schema.json"
    said.write_text('{"columns": {"said": {"bounds": [-1, 9]}}}')
    table = read_table(frame, overrides=said)
    fitted = table.fitted_to(np.arange(5_000, 17_000))
    n, m, other, kind = fitted.schema.columns
    assert n.bounds == (5_010, 17_009)
    assert m.bounds[1] >= n.bounds[1]
    assert other.bounds == (-1, 9)
    assert kind == table.schema.columns[3]
    assert fitted.schema.orders == (("n", "m"),)
    codes = to_features(fitted.schema, fitted.cells)[:, 0]
    assert (codes[:5000] == n.codes - 2).all()
    assert (codes[17_000:] == n.codes - 1).all()
    assert fitted.schema == read_table(frame.slice(5_000, 12_000), overrides=said).schema
