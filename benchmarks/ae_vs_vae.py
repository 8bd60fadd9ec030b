"""Why a VAE: an autoencoder and a VAE of the same network, sampled from N(0, I) and from fitted pools.

``python -m benchmarks.ae_vs_vae --data mnist --data-dir path/to/idx`` trains both (a run that is there is
taken up); ``--ae RUN --vae RUN --flow RUN`` takes finished runs instead, the last one with a learned prior.
Samples are measured as ``vae-train evaluate --samples`` does, all in the features of one network. Prints a
Markdown table and writes ``ae_vs_vae.json`` and ``ae_vs_vae.png``.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.serving import machine
from training.__main__ import main as vae_train
from training.config import MACHINE_FIELDS
from training.data import Dataset
from training.evaluate.evaluated_model import MAX_IMAGES, EvaluatedModel
from training.evaluate.features.judges import Features, features_for
from training.evaluate.groups import evaluated_model
from training.evaluate.samples.sample_quality import (
    Drawn,
    Yardstick,
    look_at_decoded,
    pool_latents,
    pool_rows,
    prior_latents,
    protocol_of,
    real_row,
    yardstick_for,
)
from training.evaluate.tables import Row
from training.export.provenance import git_commit, versions
from training.report.pictures.canvas import image_grid
from training.runs import LoadedRun, Run, load_run, trained_steps
from training.runs.training_log import training_speed
from training.training_error import TrainingError

NAMES = {"ae": "AE", "vae": "VAE", "flow": "VAE with flow prior"}
IN_PICTURE = NAMES | {"flow": "flow"}
"""Short enough for the names of rows."""
SHOWN = 12
Rows = dict[tuple[str, str], Row]
"""Images and where their latents were drawn from, to what was measured."""


def main() -> int:
    options = _options()
    try:
        return _compare(options)
    except TrainingError as exc:
        print(f"ae_vs_vae: error: {exc}", file=sys.stderr)
        return 2


def _compare(options: argparse.Namespace) -> int:
    if not 1 < options.samples <= MAX_IMAGES:
        raise TrainingError(f"--samples {options.samples}: want 2 to {MAX_IMAGES}")
    folders = {kind: _folder(kind, options) for kind in NAMES if kind != "flow" or options.flow}
    runs = {kind: load_run(folder) for kind, folder in folders.items()}
    dataset = _same_data(folders, runs)
    began = time.perf_counter()
    features = features_for(dataset, seed=options.seed)
    print(f"features: {features.name}, {features.judge.accuracy:.2%} of validation images right")
    models = {kind: _evaluated(folders[kind], run, dataset, options) for kind, run in runs.items()}
    first = models["vae"]
    yardstick = yardstick_for(first, features.judge)
    rows: Rows = {("real images", ""): real_row(first, yardstick)}
    shown: dict[str, Tensor] = {}
    for kind, evaluated in models.items():
        for source, (row, images) in _measured(evaluated, yardstick, options.samples).items():
            rows[NAMES[kind], source] = row
            shown[f"{IN_PICTURE[kind]}, {source}"] = images
    print(f"measured in {time.perf_counter() - began:.0f} s\n\n{table(rows)}")
    document = _document(rows, folders, runs, first, features)
    _write(options.output, document, shown)
    return 0


def table(rows: Rows) -> str:
    """Markdown."""
    lines = [
        "| images | latents drawn from | FD | KID | trash | pool fidelity |",
        "|---|---|---|---|---|---|",
    ]
    for (images, source), row in rows.items():
        fidelity = f"{row['fidelity']:.1%}" if "fidelity" in row else ""
        trash = f"{row['trash_rate']:.1%} ± {row['trash_rate_se']:.1%}"
        kid = f"{row['kid']:.2f} ± {row['kid_sd']:.2f}"
        lines.append(f"| {images} | {source} | {row['fd']:.2f} | {kid} | {trash} | {fidelity} |")
    return "\n".join(lines)


def _folder(kind: str, options: argparse.Namespace) -> Path:
    """The finished run that the user named, or one trained here."""
    given: Path | None = getattr(options, kind)
    return given or _trained(kind, options)


def _trained(kind: str, options: argparse.Namespace) -> Path:
    """Through the program's own command, so that anyone can repeat it."""
    path: Path = options.runs / f"{Path(options.data).stem}-{kind}"
    flags = ["--model", kind, "--prior", "normal", "--preset", "standard"]
    flags += ["--data", options.data, "--steps", str(options.steps)]
    flags += ["--seed", str(options.seed)] + (
        ["--data-dir", str(options.data_dir)] if options.data_dir else []
    )
    resume = ["--resume"] if Run(path).exists() else []
    if code := vae_train(["fit", "--run", str(path), *flags, *resume]):
        sys.exit(code)
    return path


def _same_data(folders: dict[str, Path], runs: dict[str, LoadedRun]) -> Dataset:
    """Of all runs; figures on different images would not compare."""
    wanted = Run(folders["vae"]).description().dataset
    for kind, folder in folders.items():
        came = Run(folder).description().dataset
        if came.sha256 != wanted.sha256:
            raise TrainingError(f"--{kind} {folder}: want the data of --vae, {wanted.name}; came {came.name}")
    return runs["vae"].dataset()


def _evaluated(folder: Path, run: LoadedRun, dataset: Dataset, options: argparse.Namespace) -> EvaluatedModel:
    step = trained_steps(Run(folder))
    return evaluated_model(run, dataset, split="test", step=step, seed=options.seed, limit=options.samples)


def _measured(evaluated: EvaluatedModel, yardstick: Yardstick, count: int) -> dict[str, tuple[Row, Tensor]]:
    """By source of latents: what was measured, and a few of the images."""
    prior = "N(0, I)" if evaluated.model.prior.name == "standard_normal" else "learned prior"
    sources = {prior: Drawn(prior_latents(evaluated, count)), "pools": pool_latents(evaluated, count)}
    return {name: _row_and_images(evaluated, yardstick, drawn) for name, drawn in sources.items()}


def _row_and_images(evaluated: EvaluatedModel, yardstick: Yardstick, drawn: Drawn) -> tuple[Row, Tensor]:
    looks = look_at_decoded(evaluated.model, yardstick.judge, drawn.latents)
    row = yardstick.distances(looks) | yardstick.classes(looks)
    if drawn.labels is not None:
        pools = pool_rows(yardstick.judge, looks, drawn.labels, evaluated.dataset.label_names).values()
        row["fidelity"] = sum(pool["fidelity"] for pool in pools) / len(pools)
    with torch.inference_mode():
        images = evaluated.model.likelihood.mean(evaluated.model.decoder(drawn.latents[:SHOWN]))
    return row, images


def _document(
    rows: Rows,
    folders: dict[str, Path],
    runs: dict[str, LoadedRun],
    first: EvaluatedModel,
    features: Features,
) -> dict[str, object]:
    return {
        "rows": [{"images": images, "latents": source} | row for (images, source), row in rows.items()],
        "protocol": first.protocol | protocol_of(first, features),
        "configs": {
            kind: run.config.model_dump(mode="json", exclude=set(MACHINE_FIELDS))
            for kind, run in runs.items()
        },
        "training": {kind: _speed(folder) for kind, folder in folders.items()},
        "machine": machine.describe(),
        "versions": versions(),
        "git_commit": git_commit(),
    }


def _speed(folder: Path) -> dict[str, float | None]:
    seconds, images_per_second = training_speed(Run(folder))
    return {"seconds": seconds, "images_per_second": images_per_second}


def _write(output: Path, document: dict[str, object], shown: dict[str, Tensor]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "ae_vs_vae.json").write_text(json.dumps(document, indent=2) + "\n")
    subtitle = "the first of the samples that were measured, in no chosen order"
    picture = image_grid(list(shown.values()), list(shown), title="AE beside VAE", subtitle=subtitle)
    (output / "ae_vs_vae.png").write_bytes(picture)
    print(f"\nwritten: {output / 'ae_vs_vae.json'}, {output / 'ae_vs_vae.png'}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Samples of an AE beside those of a VAE.")
    parser.add_argument("--ae", type=Path, help="finished run of an autoencoder; left out: trained here")
    parser.add_argument("--vae", type=Path, help="finished run of a VAE; left out: trained here")
    parser.add_argument("--flow", type=Path, help="finished run with --prior flow; left out: no such row")
    parser.add_argument("--data", default="mnist", help="as of vae-train fit; with labels (default: mnist)")
    parser.add_argument("--data-dir", type=Path, help="as of vae-train fit")
    parser.add_argument("--steps", type=int, default=4000, help="of each training here (default: 4000)")
    parser.add_argument("--seed", type=int, default=0, help="of training and sampling (default: 0)")
    parser.add_argument("--samples", type=int, default=10_000, help="measured in each row (default: 10000)")
    parser.add_argument("--runs", type=Path, default=Path("runs/ae_vs_vae"), help="(default: runs/ae_vs_vae)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
