"""The benchmarks of tables: what is hidden, what is held back, how errors are counted and kept."""

import json

import numpy as np
import pytest

from benchmarks.tables import adult, anomalies, imputation, outcome
from serving.bundle.tables import OBSERVED, UNKNOWN, Cells
from tests.support.table_samples import real_rows, staff


def test_anomalies_are_never_trained_on(tmp_path):
    """Half of the normal rows train; the other half and every anomaly are the test; a seed decides which."""
    rows = np.arange(100.0)[:, None]
    np.savez(tmp_path / "set.npz", X=rows, y=(np.arange(100) >= 90).astype(int))
    first, again, other = (anomalies.task(tmp_path / "set.npz", seed) for seed in (0, 0, 1))
    assert len(first.train) == 45
    assert (first.train < 90).all()
    assert first.is_odd.sum() == 10
    assert sorted(np.concatenate([first.train, first.test])[:, 0]) == list(range(100))
    np.testing.assert_array_equal(first.train, again.train)
    assert set(first.train[:, 0]) != set(other.train[:, 0])


def test_thirty_percent_are_hidden():
    """Hidden cells are unknown and were observed; all others stay as they are."""
    rows = real_rows(2000, 0)
    shown, hidden = imputation.hidden_cells(rows, 1)
    assert hidden.sum() / (rows.states == OBSERVED).sum() == pytest.approx(0.3, abs=0.02)
    assert (rows.states[hidden] == OBSERVED).all()
    assert (shown.states[hidden] == UNKNOWN).all()
    assert (shown.values[hidden] == 0).all()
    np.testing.assert_array_equal(shown.values[~hidden], rows.values[~hidden])


def test_errors_are_of_hidden_cells_alone():
    """The truth has no error, the mean an RMSE near 1 and the mode the share of the most frequent category."""
    schema, train, test = staff(), real_rows(4000, 0), real_rows(4000, 1)
    _, hidden = imputation.hidden_cells(test, 2)
    wrong_elsewhere = np.where(hidden, test.values, -1.0)
    assert imputation.errors(schema, train, test, wrong_elsewhere, hidden) == {"RMSE": 0, "accuracy": 1}
    plain = np.broadcast_to(imputation.mean_and_mode(schema, train), test.values.shape)
    found = imputation.errors(schema, train, test, plain, hidden)
    assert found["RMSE"] == pytest.approx(1, abs=0.03)
    assert 0.4 < found["accuracy"] < 0.6


def test_the_peer_does_better_than_the_mean():
    """The iterative imputer is fitted rightly: numbers from others they depend on, categories no worse."""
    schema, train, test = staff(), real_rows(1500, 0), real_rows(300, 1)
    shown, hidden = imputation.hidden_cells(test, 2)
    guess = imputation.iterative(schema, train, shown, 0)
    plain = np.broadcast_to(imputation.mean_and_mode(schema, train), test.values.shape)
    ours, theirs = (imputation.errors(schema, train, test, g, hidden) for g in (guess, plain))
    assert ours["RMSE"] < 0.9 * theirs["RMSE"]
    assert ours["accuracy"] >= theirs["accuracy"]


def test_runs_are_kept_and_replaced(tmp_path):
    """A second start keeps other contenders and seeds, and replaces its own."""
    runs = {"a, seed 0": outcome.a_run("a", 0, {"x": 1.0}, fit=[])}
    outcome.write("some", {"runs": runs}, "text", tmp_path)
    known = outcome.runs_of("some", tmp_path)
    known["a, seed 1"] = outcome.a_run("a", 1, {"x": 2.0}, fit=["--steps", "9"])
    outcome.write("some", {"runs": known}, "text", tmp_path)
    assert outcome.summary(outcome.runs_of("some", tmp_path).values()) == {"a": {"x": [1.0, 2.0]}}
    assert json.loads((tmp_path / "some.json").read_text())["runs"]["a, seed 1"]["fit"] == ["--steps", "9"]
    assert outcome.runs_of("none", tmp_path) == {}


def test_means_are_over_sets_and_spreads_over_seeds():
    """Each seed's mean over the sets is one value; the worst set is that of the mean over seeds."""
    runs = {
        f"{name}, c, seed {seed}": outcome.a_run(
            "c", seed, {"AUROC": auroc, "seconds": 1, "CPU s": 2}, fit=[]
        )
        for (name, seed), auroc in {("s", 0): 80, ("s", 1): 90, ("t", 0): 60, ("t", 1): 70}.items()
    }
    found = anomalies.by_contender(outcome.by_set(runs))
    assert found == {"c": {"AUROC": [70, 80], "seconds": [1, 1], "CPU s": [2, 2], "worst set": [65]}}
    text = outcome.markdown("2 sets", found, {"AUROC": 1, "worst set": 0})
    assert text.splitlines()[-1] == "| c | 75.0 ± 7.1 | 65 |"


def test_independent_columns_keep_their_marginals():
    """Every column has the cells that it had, missing ones too, in another order."""
    rows = real_rows(200, 0)
    mixed = adult.independent(rows, 0)
    assert isinstance(mixed, Cells)
    np.testing.assert_array_equal(np.sort(mixed.values, axis=0), np.sort(rows.values, axis=0))
    np.testing.assert_array_equal((mixed.states == -1).sum(axis=0), (rows.states == -1).sum(axis=0))
    assert not np.array_equal(mixed.values, rows.values)
