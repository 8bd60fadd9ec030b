"""``python -m benchmarks.gpu.training``: training on an NVIDIA GPU, for as long as one is at hand.

``--variants`` times the ways of taking a step. Without it, the preset ``gpu`` is trained for ``--seconds``
by ``vae-train fit``, on as many steps as fit by its own schedule, and judged by its importance-weighted
likelihood. What is known is written after each part, so that a run that is cut off counts.

``--device cpu`` rehearses it with a small network; its figures mean nothing.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import card, steps
from benchmarks.gpu.utilisation import watched
from benchmarks.serving import machine
from training import modalities
from training.__main__ import main as vae_train
from training.config import FitConfig, flag
from training.data import Dataset
from training.evaluate import evaluate_run
from training.evaluate.estimates import Precision, estimate
from training.fit.state import State
from training.modalities import resolve
from training.models.devices import find_device, search_kernels
from training.runs import LoadedRun, Run, load_run
from training.runs.training_log import read_rows, training_speed
from training.training_error import TrainingError

RESULTS = {"cuda": Path("benchmarks/results/gpu"), "cpu": Path("build/benchmarks/gpu")}
K = {"cuda": 5000, "cpu": 50}
"""Importance samples."""
MOST_BIAS = 0.01
"""Nats that a bfloat16 decoder may move the likelihood by; else it is estimated in float32."""
REHEARSED = {"width": 4, "depth": 1, "batch_size": 32, "couplings": 2, "coupling_width": 16, "threads": 1}
_LOOKS = 15
"""At the validation images, each with a checkpoint."""
_LOOK_S = {"cuda": 0.7, "cpu": 0.3}
_MEASURED_S = {"cuda": 3.0, "cpu": 1.0}
_TRIED_IMAGES = {"cuda": 64, "cpu": 4}
"""Of the likelihood, to see how long one takes and what bfloat16 does."""


def main() -> int:
    options = _options()
    try:
        return _run(options)
    except TrainingError as exc:
        print(f"benchmarks.gpu.training: error: {exc}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    device = find_device(options.device)
    search_kernels(device)
    output = options.output or RESULTS[options.device]
    output.mkdir(parents=True, exist_ok=True)
    settings = _settings(options)
    dataset = modalities.load(FitConfig.parse(settings))
    about = {
        **card.describe(options.device),
        "machine": machine.describe(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    if options.variants is not None:
        _variants(options, settings, dataset, about, output / "steps.json")
    else:
        _train(options, settings, dataset, about, output)
    return 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Of the config, as text or numbers: what the command line of ``vae-train fit`` takes."""
    chosen = dict(pair.split("=", 1) for pair in options.set)
    settings: dict[str, Any] = {"data": options.data, "preset": "gpu", "device": options.device}
    if options.data_dir:
        settings["data_dir"] = str(options.data_dir)
    if options.device == "cpu":
        settings |= REHEARSED | {"precision": "float32"}
    return settings | chosen


def _variants(
    options: argparse.Namespace, settings: dict[str, Any], dataset: Dataset, about: dict[str, Any], path: Path
) -> None:
    names = options.variants or list(steps.VARIANTS if options.device == "cuda" else steps.ON_CPU)
    document = about | {"settings": settings, "variants": []}
    for row in steps.speeds(names, settings, dataset, options.device, options.seconds):
        document["variants"].append(row)
        _write(document, path)
        print(_line(row), flush=True)
    print(f"written: {path}")


def _line(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"NOT MEASURED  {row['variant']}: {row['failed'].splitlines()[0]}"
    use = "" if row["utilisation"] is None else f", busy {row['utilisation']:.0%}"
    return (
        f"{row['variant']:<30} {row['ms']:8.3f} ms a step (host {row['host_ms']:.3f}), "
        f"{row['images_per_s']:10,.0f} images/s{use}, first {row['first_s']:.1f} s"
    )


def _train(
    options: argparse.Namespace,
    settings: dict[str, Any],
    dataset: Dataset,
    about: dict[str, Any],
    output: Path,
) -> None:
    path, run, kind = output / "training.json", Run(output / "run"), options.device
    step_s = _seconds_a_step(settings, dataset, kind)
    count = max(10, int((options.seconds - _LOOKS * _LOOK_S[kind]) / step_s))
    settings = settings | {
        "steps": count,
        "checkpoint_every": max(1, -(-count // _LOOKS)),
        "log_every": max(1, count // 200),
    }
    document = about | {"settings": settings, "measured_ms_a_step": 1e3 * step_s}
    print(f"{1e3 * step_s:.3f} ms a step: {count:,} steps in {options.seconds:g} s", flush=True)
    _write(document, path)
    began = time.perf_counter()
    with watched(kind) as use:
        if code := vae_train(["fit", "--run", str(run.path), "--overwrite", *_flags(settings)]):
            raise TrainingError(f"vae-train fit ended with {code}")
    rows = read_rows(run.log_file)
    document |= {
        "fit_seconds": time.perf_counter() - began,
        "utilisation": use.share,
        "images_per_s": training_speed(run)[1],
        "curve": rows,
    }
    _write(document, path)
    _judge(options, run, dataset, document, path)
    print(f"written: {path}")


def _seconds_a_step(settings: dict[str, Any], dataset: Dataset, kind: str) -> float:
    config = resolve(FitConfig.parse(settings), dataset)
    device = torch.device(kind)
    state = State.fresh(config, dataset.image_shape, device)
    return steps.seconds_a_step(steps.stepper(state, dataset, config), device, _MEASURED_S[kind])


def _flags(settings: dict[str, Any]) -> list[str]:
    given = [text for name, value in settings.items() for text in (flag(name), str(value))]
    return [*given, "--no-tensorboard"]


def _judge(
    options: argparse.Namespace, run: Run, dataset: Dataset, document: dict[str, Any], path: Path
) -> None:
    """On as many test images as fit in ``--evaluate-seconds``, chosen at random."""
    kind, loaded = options.device, load_run(run.path)
    loaded.model.to(torch.device(kind))
    k = K[kind]
    tried = dataset.binarised("test").images[:: len(dataset.test) // _TRIED_IMAGES[kind]]
    tried = tried[: _TRIED_IMAGES[kind]]
    exact, exact_s = _likelihood(loaded, tried, k, "float32")
    rounded, rounded_s = _likelihood(loaded, tried, k, "bfloat16")
    decoder: Precision = "float32" if abs(rounded - exact) > MOST_BIAS else "bfloat16"
    image_s = (exact_s if decoder == "float32" else rounded_s) / len(tried)
    images = max(1, min(len(dataset.test), int(options.evaluate_seconds / image_s)))
    document["decoder"] = {
        "images": len(tried),
        "k": k,
        "nll_float32": exact,
        "nll_bfloat16": rounded,
        "seconds_float32": exact_s,
        "seconds_bfloat16": rounded_s,
        "chosen": decoder,
    }
    _write(document, path)
    print(
        f"nll_{k} of {len(tried)} images: {exact:.4f}, bfloat16 {rounded:.4f}; now of {images:,}", flush=True
    )
    metrics = evaluate_run(run, loaded, dataset, k=k, limit=images, decoder=decoder)
    document["metrics"] = metrics.document()
    _write(document, path)
    for name in ("nelbo", f"nll_{k}"):
        figure = metrics.figures[name]
        print(f"{name} {figure.value:.3f} ± {figure.standard_error or 0:.3f}, {images:,} test images")


def _likelihood(loaded: LoadedRun, images: torch.Tensor, k: int, decoder: Precision) -> tuple[float, float]:
    """nll_k of these images and the seconds it took, once kernels are chosen."""
    estimate(loaded.model, images, k=k, seed=0, decoder=decoder)
    began = time.perf_counter()
    found = estimate(loaded.model, images, k=k, seed=0, decoder=decoder)
    if found.log_likelihood is None:
        raise ValueError("want a model with a posterior")
    return float(-found.log_likelihood.mean()), time.perf_counter() - began


def _write(document: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.training", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--seconds", type=float, default=240.0, help="of training; with --variants, of each of them"
    )
    parser.add_argument("--evaluate-seconds", type=float, default=60.0, help="of the likelihood at the end")
    parser.add_argument("--output", type=Path, help="folder (default: benchmarks/results/gpu)")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST's four IDX files")
    parser.add_argument("--variants", nargs="*", choices=list(steps.VARIANTS), help="all if none is named")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="options of vae-train fit beside the preset's",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
