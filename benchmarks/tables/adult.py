"""Synthetic Adult: ``python -m benchmarks.tables.adult --data adult.csv --peers FOLDER``.

Our model by ``vae-train fit`` at its defaults, TVAE of ``ctgan`` at its own, independent columns and the real
held-out rows: the same training rows, as many records as there are of them, the same measures. ``--fit`` and
what follows goes to ``vae-train fit``. A peer that cannot be imported is left out, which is said. What is in
``adult.json`` already is kept, but for the same contender and seed: contenders may be run one at a time.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.tables import ours, outcome
from serving.bundle.tables import Cells, Schema, cells_of_columns, column_values
from training import modalities
from training.config import FitConfig
from training.modalities.table.evaluation.record_quality import record_quality
from training.modalities.table.evaluation.taken import Samples, Table

LABEL = "class"
MISSING = "(missing)"
CONTENDERS = ("vaeserve", "independent columns", "TVAE")
COLUMNS = {
    "shapes": 4, "trends": 4, "strong trends": 4, "TSTR AUC": 4, "C2ST": 3, "C2ST AUC": 3,
    "DCR share": 3, "copies": 4, "training s": 0, "CPU s": 0,
}  # fmt: skip
Figures = dict[str, float]


def figures_of(tables: dict[str, Table], row: str = "synthetic") -> Figures:
    """Of synthetic rows, or of the real held-out ones beside them."""
    quality, c2st, closest = (tables[name][row] for name in ("quality", "c2st", "closest record"))
    learned = tables["learned from"]["synthetic" if row == "synthetic" else "real"]
    return {
        "shapes": quality["shapes"],
        "trends": quality["trends"],
        "strong trends": quality["strong_trends"],
        "TSTR AUC": learned["auc"],
        "C2ST": c2st["score"],
        "C2ST AUC": c2st["auc"],
        "DCR share": closest["nearer_to_training"],
        "copies": closest["copies"],
    }


def contenders(options: argparse.Namespace, seed: int) -> Iterator[tuple[str, Figures]]:
    """Name and figures of those that are wanted, one after the other; all of the split of our run."""
    flags = {"data": str(options.data), "label": LABEL, "split_seed": seed}
    dataset = modalities.load(FitConfig.parse(flags))
    schema, train, held_out = dataset.schema, dataset.train.cells, dataset.test.cells
    assert schema is not None
    assert train is not None
    assert held_out is not None
    real: list[Figures] = []

    def judged(synthetic: Cells) -> Figures:
        tables = dict(record_quality(schema, Samples(train, held_out, synthetic), seed=seed).tables)
        real.append(figures_of(tables, "real held-out"))
        return figures_of(tables)

    if "vaeserve" in options.only:
        with tempfile.TemporaryDirectory() as folder:
            chosen = ["--label", LABEL, "--seed", str(seed), "--split-seed", str(seed), *options.fit]
            mine = ours.fitted(options.data, Path(folder) / "run", chosen)
        made = ours.records(mine, len(train), seed=seed)
        yield "vaeserve", judged(made) | {"training s": mine.wall_s, "CPU s": mine.cpu_s}
    if "independent columns" in options.only:
        yield "independent columns", judged(independent(train, seed))
    if "TVAE" in options.only:
        try:
            made, wall, cpu = tvae(schema, train, len(train), seed, epochs=options.tvae_epochs)
            yield "TVAE", judged(made) | {"training s": wall, "CPU s": cpu}
        except ImportError as exc:
            print(f"TVAE left out: {exc}", flush=True)
    if real:
        yield "real held-out", real[0]


def independent(cells: Cells, seed: int) -> Cells:
    """Every column in an order of its own."""
    draw = np.random.default_rng(seed)
    values, states = cells.values.copy(), cells.states.copy()
    for place in range(values.shape[1]):
        order = draw.permutation(len(values))
        values[:, place], states[:, place] = values[order, place], states[order, place]
    return Cells(values, states)


def tvae(
    schema: Schema, train: Cells, count: int, seed: int, *, epochs: int | None
) -> tuple[Cells, float, float]:
    """Its records, seconds and CPU seconds of the training. ``epochs``: its default of 300 if None."""
    import pandas as pd
    from ctgan import TVAE

    columns = column_values(schema, train)
    kinds = [column.name for column in schema.modelled if column.type in ("category", "boolean")]
    frame = pd.DataFrame({c.name: columns[c.name] for c in schema.modelled})
    for name in kinds:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), MISSING)
    np.random.seed(seed)  # the peer draws from it
    torch.manual_seed(seed)
    model = TVAE(enable_gpu=False) if epochs is None else TVAE(epochs=epochs, enable_gpu=False)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(frame, kinds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    made = model.sample(count)
    for column in schema.modelled:
        if column.type == "numeric" and column.integer:  # it gives them as numbers near whole ones
            made[column.name] = made[column.name].round().astype(int)
    told = {name: [None if value == MISSING else value for value in made[name].tolist()] for name in made}
    return cells_of_columns(schema, told), wall, cpu


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.adult", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="adult.csv")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--peers", type=Path, help="folder with ctgan (pip --target)")
    parser.add_argument("--tvae-epochs", type=int, help="of TVAE, instead of its default")
    parser.add_argument("--only", type=lambda names: names.split(","), default=list(CONTENDERS),
                        help=f"some of: {', '.join(CONTENDERS)}")  # fmt: skip
    parser.add_argument("--out", type=Path, default=outcome.RESULTS)
    parser.add_argument("--fit", nargs=argparse.REMAINDER, default=[], help="the rest is for vae-train fit")
    options = parser.parse_args()
    if options.peers:
        sys.path.append(str(options.peers))
    known = outcome.runs_of("adult", options.out)
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name, figures in contenders(options, seed):
            print(seed, name, {key: round(value, 4) for key, value in figures.items()}, flush=True)
            known[f"{name}, seed {seed}"] = outcome.a_run(name, seed, figures, fit=options.fit)
            text = outcome.markdown("Adult", outcome.summary(known.values()), COLUMNS)
            outcome.write("adult", {"runs": known}, text, options.out)
    print(outcome.markdown("Adult", outcome.summary(known.values()), COLUMNS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
