"""Why a VAE: an autoencoder and a VAE of the same network, sampled from N(0, I) and from fitted pools.

``python -m benchmarks.ae_vs_vae --data mnist --data-dir path/to/idx``: trains both (a run that is there is
taken up), has one classifier of real images judge the samples, prints a Markdown table and writes
``ae_vs_vae.json`` and ``ae_vs_vae.png``.
"""

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.serving import machine
from training.__main__ import main as vae_train
from training.classifier import CONFIDENT, NEIGHBOURS, QUANTILE, Judge, train_judge
from training.config import MACHINE_FIELDS
from training.data import Dataset, to_unit
from training.evaluate.of_run import training_speed
from training.export.provenance import git_commit, versions
from training.models import VAE
from training.pools import Latents, fit_latents
from training.report.canvas import image_grid
from training.report.pictures import draw
from training.runs import LoadedRun, Run, load_run

NAMES = {"ae": "AE", "vae": "VAE"}
SHOWN = 12


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    images: str
    latents: str
    trash_rate: float
    trash_rate_se: float
    pool_fidelity: float | None
    """Share of samples of a label's pool that the classifier puts into that label, mean over labels."""


def main() -> int:
    options = _options()
    runs = {kind: _trained(kind, options) for kind in NAMES}
    dataset = runs["vae"].dataset()
    began = time.perf_counter()
    judge = train_judge(
        (to_unit(dataset.train.images), _labels(dataset.train.labels)),
        (to_unit(dataset.val.images), _labels(dataset.val.labels)),
        classes=len(dataset.label_names),
        steps=options.judge_steps,
    )
    print(
        f"classifier: {judge.accuracy:.2%} of validation images right, in {time.perf_counter() - began:.0f} s"
    )
    rows = [Row("real test images", "", *_trash(judge, to_unit(dataset.test.images)), None)]
    shown: dict[str, Tensor] = {}
    for kind, run in runs.items():
        for row, images in _sampled(NAMES[kind], run.model, dataset, judge, options.samples):
            rows.append(row)
            shown[f"{row.images}, {row.latents}"] = images[:: len(images) // SHOWN][:SHOWN]
    print(table(rows))
    _write(options, rows, runs, judge, shown)
    return 0


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| images | latents drawn from | trash | pool fidelity |", "|---|---|---|---|"]
    for row in rows:
        fidelity = "" if row.pool_fidelity is None else f"{row.pool_fidelity:.1%}"
        trash = f"{row.trash_rate:.1%} ± {row.trash_rate_se:.1%}"
        lines.append(f"| {row.images} | {row.latents} | {trash} | {fidelity} |")
    return "\n".join(lines)


def _trained(kind: str, options: argparse.Namespace) -> LoadedRun:
    """Through the program's own command, so that anyone can repeat it."""
    path = _run_folder(options, kind)
    flags = ["--model", kind, "--data", options.data, "--preset", "standard", "--steps", str(options.steps)]
    flags += ["--seed", str(options.seed)] + (
        ["--data-dir", str(options.data_dir)] if options.data_dir else []
    )
    resume = ["--resume"] if Run(path).exists() else []
    if code := vae_train(["fit", "--run", str(path), *flags, *resume]):
        sys.exit(code)
    return load_run(path)


@torch.inference_mode()
def _sampled(name: str, model: VAE, dataset: Dataset, judge: Judge, count: int) -> list[tuple[Row, Tensor]]:
    """``count`` images from N(0, I) and as many from the pools of the labels, as they were judged."""
    noise = torch.randn((count, *model.latent_shape), generator=torch.Generator().manual_seed(0))
    images = _decoded(model, noise)
    prior = Row(name, "N(0, I)", *_trash(judge, images), None)
    latents = fit_latents(model.encoder, dataset.train.images, dataset.train.labels, dataset.label_names)
    of_pools = [_decoded(model, latent) for latent in _pool_latents(model, latents, dataset, count)]
    fidelity = [judge.pool_fidelity(images, label) for label, images in enumerate(of_pools)]
    every = torch.cat(of_pools)
    pools = Row(name, "pools", *_trash(judge, every), sum(fidelity) / len(fidelity))
    return [(prior, images), (pools, every)]


def _pool_latents(model: VAE, latents: Latents, dataset: Dataset, count: int) -> list[Tensor]:
    """The same number of each label, in the order of the labels."""
    names = [entry.name for entry in latents.entries]
    each = count // len(dataset.label_names)
    return [
        draw(latents.pools, names.index(name), each, seed=0).unflatten(1, model.latent_shape)
        for name in dataset.label_names
    ]


def _decoded(model: VAE, latents: Tensor) -> Tensor:
    return torch.cat([model.likelihood.mean(model.decoder(rows)) for rows in latents.split(500)])


def _trash(judge: Judge, images: Tensor) -> tuple[float, float]:
    """The rate and its standard error."""
    rate = judge.trash_rate(images)
    return rate, math.sqrt(rate * (1 - rate) / len(images))


def _run_folder(options: argparse.Namespace, kind: str) -> Path:
    folder: Path = options.runs / f"{Path(options.data).stem}-{kind}"
    return folder


def _speed(options: argparse.Namespace, kind: str) -> dict[str, float | None]:
    seconds, images_per_second = training_speed(Run(_run_folder(options, kind)))
    return {"seconds": seconds, "images_per_second": images_per_second}


def _labels(labels: Tensor | None) -> Tensor:
    if labels is None:
        sys.exit("--data: want images with labels, which the classifier learns")
    return labels


def _write(
    options: argparse.Namespace,
    rows: list[Row],
    runs: dict[str, LoadedRun],
    judge: Judge,
    shown: dict[str, Tensor],
) -> None:
    document = {
        "rows": [asdict(row) for row in rows],
        "trash": f"best class below {CONFIDENT}, or farther from the real images than {QUANTILE:.0%} of the "
        f"validation images are (distance to the nearest number {NEIGHBOURS} in the classifier's features)",
        "classifier_accuracy": judge.accuracy,
        "samples": options.samples,
        "configs": {
            kind: run.config.model_dump(mode="json", exclude=set(MACHINE_FIELDS))
            for kind, run in runs.items()
        },
        "training": {kind: _speed(options, kind) for kind in runs},
        "machine": machine.describe(),
        "versions": versions(),
        "git_commit": git_commit(),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "ae_vs_vae.json").write_text(json.dumps(document, indent=2) + "\n")
    subtitle = "same network, same training; samples in no chosen order, pools by label"
    picture = image_grid(list(shown.values()), list(shown), title="AE beside VAE", subtitle=subtitle)
    (options.output / "ae_vs_vae.png").write_bytes(picture)
    print(f"written: {options.output / 'ae_vs_vae.json'}, {options.output / 'ae_vs_vae.png'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Samples of an AE beside those of a VAE.")
    parser.add_argument("--data", default="mnist", help="as of vae-train fit; with labels (default: mnist)")
    parser.add_argument("--data-dir", type=Path, help="as of vae-train fit")
    parser.add_argument("--steps", type=int, default=4000, help="of each training (default: 4000)")
    parser.add_argument("--seed", type=int, default=0, help="of both trainings (default: 0)")
    parser.add_argument("--samples", type=int, default=10_000, help="judged in each row (default: 10000)")
    parser.add_argument("--judge-steps", type=int, default=1000, help="of the classifier (default: 1000)")
    parser.add_argument("--runs", type=Path, default=Path("runs/ae_vs_vae"), help="(default: runs/ae_vs_vae)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
