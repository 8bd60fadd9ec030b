"""Time to a −ELBO: ``make bench-training``.

Two tables in one run: each library with its own default network, then all with the network of ours. The
time is that of training alone, after the data are loaded; every one is measured alike, on the same validation
images. Writes ``time_to_elbo.json``.
"""

import argparse
import json
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.serving import machine
from benchmarks.training.clock import Clock, Over
from benchmarks.training.contenders import Contender, example, ours, pythae
from training import modalities
from training.config import FitConfig
from training.data import Dataset, Split
from training.export.provenance import git_commit, versions
from training.training_error import TrainingError

FASTER = {"learning_rate": 1e-3, "per_device_train_batch_size": 128}
"""What the other two train with; pythae's own defaults are 1e-4 and 64."""
QUICK = {"batch_size": 64, "ema": 0.98}
"""With these and a higher learning rate ours is sooner there; the preset is made for where it ends."""
SEED = 0
TABLES = {
    "own network": (
        ours(prior="flow"),
        ours(prior="flow", learning_rate=2e-3, **QUICK),
        example(standard_network=False),
        pythae(standard_network=False),
        pythae(standard_network=False, **FASTER),
    ),
    "same network": (
        ours(prior="normal"),
        ours(prior="normal", learning_rate=3e-3, warmup=0.08, **QUICK),
        ours(prior="flow", learning_rate=2e-3, **QUICK),
        example(standard_network=True),
        example(standard_network=True, learning_rate=3e-3, batch_size=64),
        pythae(standard_network=True),
        pythae(standard_network=True, **FASTER),
    ),
}


def main() -> int:
    options = _options()
    try:
        dataset = modalities.load(FitConfig.parse({"data": "mnist", "data_dir": options.data_dir}))
    except TrainingError as exc:
        print(f"benchmarks.training: error: {exc}", file=sys.stderr)
        return 2
    records = []
    for table, contenders in TABLES.items():
        rows = [_raced(contender, dataset, options) for contender in contenders]
        print(f"\n{markdown(table, rows, options.target)}\n", flush=True)
        records += [{"table": table, **row} for row in rows]
    document = {
        "target_nats": options.target,
        "budget_s": options.budget,
        "data": "MNIST, 50,000 training images binarised anew each epoch; −ELBO of validation images",
        "held_out": options.held_out,
        "threads": torch.get_num_threads(),
        "machine": machine.describe(),
        "versions": versions() | {"commit": git_commit()},
        "records": records,
    }
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _raced(contender: Contender, dataset: Dataset, options: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(SEED)
    held_out = Split(dataset.binarised("val").images[: options.held_out], None)
    clock = Clock(held_out, target=options.target, budget=options.budget)
    with suppress(Over):
        contender.train(dataset, clock)
    print(f"{contender.name}, {contender.what}: {clock.looks[-1]}", file=sys.stderr, flush=True)
    return {
        "library": contender.name,
        "what": contender.what,
        "seconds": clock.spent if clock.reached else None,
        "images": clock.looks[-1].images,
        "images_per_s": clock.looks[-1].images / clock.spent,
        "best_nelbo": clock.best,
        "looks": [asdict(look) for look in clock.looks],
    }


def markdown(table: str, rows: list[dict[str, Any]], target: float) -> str:
    lines = [
        f"| {table} | | s to −ELBO ≤ {target:g} | times ours | images/s | best −ELBO seen |",
        "|---|---|---|---|---|---|",
    ]
    first = rows[0]["seconds"]
    for row in rows:
        trained = row["images"] / row["images_per_s"]
        time = f"not in {trained:,.0f}" if row["seconds"] is None else f"{row['seconds']:,.0f}"
        times = f"{'' if row['seconds'] else '> '}{trained / first:.1f}" if first else ""
        rest = f"{row['images_per_s']:,.0f} | {row['best_nelbo']:.1f}"
        lines.append(f"| {row['library']} | {row['what']} | {time} | {times} | {rest} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder with the four IDX files of MNIST")
    parser.add_argument("--target", type=float, default=100.0, help="−ELBO in nats (default: %(default)g)")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for each (default: %(default)g)")
    parser.add_argument(
        "--held-out", type=int, default=10_000, help="validation images of a look (default: %(default)d)"
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/time_to_elbo.json"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
