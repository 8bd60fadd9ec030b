"""Anomalies of ADBench: ``python -m benchmarks.tables.anomalies --data FOLDER --peers FOLDER``.

Semi-supervised: half of the normal rows are for training, the others and all anomalies for the test. Our
model by ``vae-train fit`` at its defaults, scored by −ELBO; kNN (5 neighbours), isolation forest, ECOD and
the VAE of PyOD at theirs, on columns standardised by the training rows. AUROC, and seconds of fitting and
scoring. ``--fit`` and what follows goes to ``vae-train fit``. What is in ``anomalies.json`` already is kept,
but for the same set, contender and seed.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import ours, outcome
from serving.bundle.tables import cells_of_columns
from training.modalities.table.evaluation.odd_rows import row_auroc

Doubles = NDArray[np.float64]
COLUMNS = {"AUROC": 2, "worst set": 1, "seconds": 1, "CPU s": 1}


class Task(NamedTuple):
    """[n, C] each, and [n] which rows of the test are odd."""

    train: Doubles
    test: Doubles
    is_odd: NDArray[np.bool_]
    seed: int


def task(path: Path, seed: int) -> Task:
    """Of a set of ADBench."""
    with np.load(path, allow_pickle=False) as file:
        rows, labels = file["X"].astype(np.float64), file["y"].astype(bool)
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(~labels))
    half = len(normal) // 2
    tested = np.concatenate([normal[half:], np.flatnonzero(labels)])
    return Task(rows[normal[:half]], rows[tested], labels[tested], seed)


def mine(of: Task, fit: list[str]) -> dict[str, Doubles]:
    """−ELBO and distortion of the test rows."""
    import pandas as pd

    names = [f"x{place}" for place in range(of.train.shape[1])]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.parquet"
        pd.DataFrame(of.train, columns=names).to_parquet(data)
        flags = ["--seed", str(of.seed), "--split-seed", str(of.seed), *fit]
        model = ours.fitted(data, Path(folder) / "run", flags)
    wanted = {column.name for column in model.schema.columns}
    columns = {name: of.test[:, place] for place, name in enumerate(names) if name in wanted}
    found, _ = ours.scores(model, cells_of_columns(model.schema, columns), seed=of.seed)
    return {"vaeserve": found["nelbo"], "vaeserve, distortion": found["distortion"]}


def peer(name: str) -> Callable[[Task, list[str]], dict[str, Doubles]]:
    """One of PyOD's detectors at its defaults."""

    def scored(of: Task, _: list[str]) -> dict[str, Doubles]:
        mean, deviation = of.train.mean(axis=0), of.train.std(axis=0)
        deviation[deviation == 0] = 1
        train, test = ((rows - mean) / deviation for rows in (of.train, of.test))
        detector = _detector(name, of.seed)
        detector.fit(train)
        return {name: np.asarray(detector.decision_function(test), np.float64)}

    return scored


def _detector(name: str, seed: int) -> Any:
    if name == "kNN":
        from pyod.models.knn import KNN

        return KNN()
    if name == "isolation forest":
        from pyod.models.iforest import IForest

        return IForest(random_state=seed)
    if name == "ECOD":
        from pyod.models.ecod import ECOD

        return ECOD()
    from pyod.models.vae import VAE

    return VAE(random_state=seed, verbose=0)


CONTENDERS: dict[str, Callable[[Task, list[str]], dict[str, Doubles]]] = {
    "vaeserve": mine,
    **{name: peer(name) for name in ("kNN", "isolation forest", "ECOD", "PyOD's VAE")},
}


def taken(path: Path, seed: int, only: list[str], fit: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """Contender to AUROC in percent and seconds; one that cannot be imported is left out, which is said."""
    of = task(path, seed)
    for name, scored in CONTENDERS.items():
        if only and name not in only:
            continue
        wall, cpu = time.perf_counter(), _cpu()
        try:
            found = scored(of, fit)
        except ImportError as exc:
            print(f"{name} left out: {exc}", flush=True)
            continue
        cost = {"seconds": time.perf_counter() - wall, "CPU s": _cpu() - cpu}
        for score, row in row_auroc(found, of.is_odd).items():
            yield score, {"AUROC": 100 * row["auroc"]} | cost


def _cpu() -> float:
    """Of this process and its children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def by_contender(sets: dict[str, dict[str, dict[str, list[float]]]]) -> dict[str, dict[str, list[float]]]:
    """Means over the sets, a value a seed; seconds a set; ``worst set`` is that of the mean over seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in dict.fromkeys(name for contenders in sets.values() for name in contenders):
        of_sets = [contenders[name] for contenders in sets.values() if name in contenders]
        seeds = min(len(figures["AUROC"]) for figures in of_sets)
        found[name] = {
            key: np.mean([figures[key][:seeds] for figures in of_sets], axis=0).tolist()
            for key in ("AUROC", "seconds", "CPU s")
        }
        found[name]["worst set"] = [min(float(np.mean(figures["AUROC"])) for figures in of_sets)]
    return found


def _text(sets: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    names = list(dict.fromkeys(name for contenders in sets.values() for name in contenders))
    by_set = {
        name: {one: contenders[one]["AUROC"] for one in names if one in contenders}
        for name, contenders in sets.items()
    }
    parts = [
        outcome.markdown(f"{len(sets)} sets", by_contender(sets), COLUMNS),
        outcome.markdown("AUROC", by_set, dict.fromkeys(names, 1)),
    ]
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.anomalies", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files with X and y")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="folder with pyod (pip --target)")
    parser.add_argument("--only", default="", help="contenders, with commas between them")
    parser.add_argument("--sets", default="", help="parts of names of sets, with commas between them")
    parser.add_argument("--out", type=Path, default=outcome.RESULTS)
    parser.add_argument("--fit", nargs=argparse.REMAINDER, default=[], help="the rest is for vae-train fit")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(str(options.peers))
    only, parts = ([part for part in text.split(",") if part] for text in (options.only, options.sets))
    known = outcome.runs_of("anomalies", options.out)
    for path in sorted(options.data.glob("*.npz")):
        if parts and not any(part in path.stem for part in parts):
            continue
        for seed in range(options.seeds):
            for name, figures in taken(path, seed, only, options.fit):
                print(path.stem, seed, name, {k: round(v, 1) for k, v in figures.items()}, flush=True)
                run = outcome.a_run(name, seed, figures, fit=options.fit)
                known[f"{path.stem}, {name}, seed {seed}"] = run
        sets = outcome.by_set(known)
        outcome.write("anomalies", {"mean": by_contender(sets), "runs": known}, _text(sets), options.out)
    sets = outcome.by_set(known)
    print(_text(sets))
    return 0


if __name__ == "__main__":
    sys.exit(main())
