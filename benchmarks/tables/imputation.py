"""Imputation: ``python -m benchmarks.tables.imputation --adult adult.csv --adbench FOLDER``.

30 % of the cells of test rows are hidden at random; all are fitted to the same complete training rows. Our
model by ``vae-train fit`` at its defaults, by draws of what is hidden given the rest; mean and mode;
scikit-learn's IterativeImputer (Bayesian ridge), categories one-hot. Adult, pendigits (ADBench) and breast
cancer (scikit-learn). RMSE in standard deviations of the training rows, accuracy of categories, and how often
the middle 90 % of our draws hold the truth. ``--fit`` and what follows goes to ``vae-train fit``.
What is in ``imputation.json`` already is kept, but for the same set, contender and seed.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import ours, outcome
from serving.bundle.tables import OBSERVED, UNKNOWN, Cells, Number, Schema
from training.modalities.table.evaluation.taken import at_most

HIDDEN = 0.3
DRAWS = 200
"""The mean of 50 has a fiftieth of their variance as an error of its own, a hundredth of the RMSE."""
TEST_ROWS = 2000
PEER_ROWS = 5000
"""Training rows of the IterativeImputer, whose time grows with them and with the columns' square."""
COLUMNS = {"RMSE": 3, "accuracy": 3, "coverage": 3, "seconds": 0}

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


def hidden_cells(cells: Cells, seed: int) -> tuple[Cells, Flags]:
    """The cells with 30 % of those that are observed unknown, and which [n, C] those are."""
    hidden = (np.random.default_rng(seed).random(cells.values.shape) < HIDDEN) & (cells.states == OBSERVED)
    return Cells(np.where(hidden, 0.0, cells.values), np.where(hidden, UNKNOWN, cells.states)), hidden


def errors(schema: Schema, train: Cells, truth: Cells, guess: Doubles, hidden: Flags) -> dict[str, float]:
    """RMSE of numbers, accuracy of categories, over the hidden cells."""
    numeric = np.array([isinstance(column, Number) for column in schema.modelled])
    found = {}
    if numeric.any():
        apart = (guess - truth.values)[:, numeric] / _deviation(train)[numeric]
        found["RMSE"] = float(np.sqrt((apart[hidden[:, numeric]] ** 2).mean()))
    if not numeric.all():
        right = (guess == truth.values)[:, ~numeric]
        found["accuracy"] = float(right[hidden[:, ~numeric]].mean())
    return found


def mine(model: ours.Fitted, test: Cells, shown: Cells, hidden: Flags, seed: int) -> dict[str, float]:
    """Mean of the draws of a number, the most frequent of a category; coverage of the middle 90 %."""
    schema, train = model.schema, model.dataset.train.cells
    assert train is not None
    draws = np.stack([cells.values for cells in ours.fillings(model, shown, DRAWS, seed=seed)])
    numeric = np.array([isinstance(column, Number) for column in schema.modelled])
    guess = np.where(numeric, draws.mean(axis=0), 0.0)
    for place in np.flatnonzero(~numeric):
        guess[:, place] = _modes(draws[:, :, place])
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    inside = ((low <= test.values) & (test.values <= high))[:, numeric][hidden[:, numeric]]
    return errors(schema, train, test, guess, hidden) | {"coverage": float(inside.mean())}


def mean_and_mode(schema: Schema, train: Cells) -> Doubles:
    """[C] of the observed cells."""
    found = np.zeros(len(schema.modelled))
    for place, column in enumerate(schema.modelled):
        values = train.values[train.states[:, place] == OBSERVED, place]
        is_number = isinstance(column, Number)
        found[place] = values.mean() if is_number else np.bincount(values.astype(int)).argmax()
    return found


def iterative(schema: Schema, train: Cells, shown: Cells, seed: int) -> Doubles:
    """[n, C] by scikit-learn's imputer at its defaults, on standardised numbers and one-hot categories."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    few = at_most(train, PEER_ROWS, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer = IterativeImputer(random_state=seed).fit(_one_hot(schema, few, train))
        filled = imputer.transform(_one_hot(schema, shown, train))
    guess, start, deviation, mean = np.zeros(shown.values.shape), 0, _deviation(train), _mean(train)
    for place, column in enumerate(schema.modelled):
        width = _width(column)
        part = filled[:, start : start + width]
        is_number = isinstance(column, Number)
        guess[:, place] = part[:, 0] * deviation[place] + mean[place] if is_number else part.argmax(axis=1)
        start += width
    return guess


def _one_hot(schema: Schema, cells: Cells, train: Cells) -> Doubles:
    parts = []
    deviation, mean = _deviation(train), _mean(train)
    for place, column in enumerate(schema.modelled):
        values, told = cells.values[:, place, None], cells.states[:, place, None] == OBSERVED
        if isinstance(column, Number):
            shown = (values - mean[place]) / deviation[place]
        else:
            shown = (values == np.arange(_width(column))).astype(np.float64)
        parts.append(np.where(told, shown, np.nan))
    return np.concatenate(parts, axis=1)


def _width(column: object) -> int:
    return 1 if isinstance(column, Number) else len(getattr(column, "categories", (0, 1)))


def _mean(train: Cells) -> Doubles:
    told = train.states == OBSERVED
    return np.asarray(train.values.sum(axis=0) / np.maximum(1, told.sum(axis=0)))


def _deviation(train: Cells) -> Doubles:
    told = train.states == OBSERVED
    squares = np.where(told, train.values - _mean(train), 0.0) ** 2
    return np.asarray(np.sqrt(squares.sum(axis=0) / np.maximum(1, told.sum(axis=0))))


def _modes(draws: Doubles) -> Doubles:
    """[D, n] → [n]"""
    kinds = np.unique(draws)
    counts = (draws[None] == kinds[:, None, None]).sum(axis=1)
    return np.asarray(kinds[counts.argmax(axis=0)])


def contenders(data: Path, seed: int, fit: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Name and figures; seconds are of fitting and filling."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--seed", str(seed), "--split-seed", str(seed), *fit]
        model = ours.fitted(data, Path(folder) / "run", flags)
    train, held_out = model.dataset.train.cells, model.dataset.test.cells
    assert train is not None
    assert held_out is not None
    test = at_most(held_out, TEST_ROWS, seed)
    shown, hidden = hidden_cells(test, seed)
    began = time.perf_counter()
    figures = mine(model, test, shown, hidden, seed)
    yield "vaeserve", figures | {"seconds": model.wall_s + time.perf_counter() - began}
    plain = np.broadcast_to(mean_and_mode(model.schema, train), test.values.shape)
    yield "mean and mode", errors(model.schema, train, test, plain, hidden)
    began = time.perf_counter()
    guess = iterative(model.schema, train, shown, seed)
    cost = {"seconds": time.perf_counter() - began}
    yield "IterativeImputer", errors(model.schema, train, test, guess, hidden) | cost


def sets(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and file."""
    from sklearn.datasets import load_breast_cancer

    yield "Adult", options.adult
    with np.load(options.adbench / "28_pendigits.npz") as file:
        rows = file["X"].astype(np.float64)
    outcome.write_numbers(folder / "pendigits.parquet", {f"x{i}": column for i, column in enumerate(rows.T)})
    yield "pendigits", folder / "pendigits.parquet"
    cancer = load_breast_cancer()
    columns = dict(zip(cancer.feature_names.tolist(), cancer.data.T, strict=True))
    outcome.write_numbers(folder / "breast_cancer.parquet", columns)
    yield "breast cancer", folder / "breast_cancer.parquet"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.imputation", description=__doc__)
    parser.add_argument("--adult", type=Path, required=True, help="adult.csv")
    parser.add_argument("--adbench", type=Path, required=True, help="folder with 28_pendigits.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="sets, with commas between them")
    parser.add_argument("--out", type=Path, default=outcome.RESULTS)
    parser.add_argument("--fit", nargs=argparse.REMAINDER, default=[], help="the rest is for vae-train fit")
    options = parser.parse_args()
    known, text = outcome.runs_of("imputation", options.out), ""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in sets(options, Path(folder)):
            if options.only and name not in options.only.split(","):
                continue
            for seed in range(options.seeds):
                for contender, figures in contenders(data, seed, options.fit):
                    print(name, seed, contender, {k: round(v, 4) for k, v in figures.items()}, flush=True)
                    run = outcome.a_run(contender, seed, figures, fit=options.fit)
                    known[f"{name}, {contender}, seed {seed}"] = run
            found = outcome.by_set(known).items()
            text = "\n\n".join(outcome.markdown(one, figures, COLUMNS) for one, figures in found)
            outcome.write("imputation", {"hidden": HIDDEN, "draws": DRAWS, "runs": known}, text, options.out)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
