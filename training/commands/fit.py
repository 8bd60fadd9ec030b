"""``vae-train fit``: train a model, or go on with one that was stopped."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli import add_config_flags, explicit_values
from training.config import MACHINE_FIELDS, FitConfig, flag
from training.errors import TrainingError

if TYPE_CHECKING:  # torch and the rest are imported when there is something to train
    from training.data import Dataset
    from training.loop import Outcome
    from training.runs import Run, RunDescription
    from training.state import State

EXAMPLES = """\
examples:
  vae-train fit                                              the embedded digits, about a minute
  vae-train fit --data path/to/images --run runs/mine        a folder of images, sub-folders are labels
  vae-train fit --data mnist --preset standard --run runs/mnist
  vae-train fit --run runs/mnist --resume                    go on after Ctrl-C or a crash
"""


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    from training.presets import describe_presets

    parser = subparsers.add_parser(
        "fit",
        help="train a model",
        description="Train a model on images. Losses are in nats per image.",
        epilog=f"{EXAMPLES}\npresets:\n{describe_presets()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run_flags = parser.add_argument_group("run")
    run_flags.add_argument("--run", type=Path, help="run folder (default: runs/ and the name of the data)")
    again = run_flags.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the run in --run")
    again.add_argument("--overwrite", action="store_true", help="replace the run in --run")
    add_config_flags(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training import checkpoint
    from training.devices import find_device, use_threads
    from training.loop import train
    from training.state import State

    folder, described, dataset = _resumed(args) if args.resume else _begun(args)
    config = described.config
    use_threads(config.threads)
    state = State.fresh(config, dataset.image_shape, find_device(config.device))
    if args.resume and checkpoint.files(folder.checkpoints):
        state.restore(checkpoint.load_latest(folder.checkpoints, owner=described.owner))
        print(f"resumed   {folder.path} at step {state.step:,} of {config.total_steps:,}")
    _print_plan(state, config)
    outcome = train(state, dataset, config, folder, owner=described.owner)
    return _report(outcome, state, config, folder)


def _begun(args: argparse.Namespace) -> "tuple[Run, RunDescription, Dataset]":
    """A new run folder; made only when nothing about the data or the options is wrong any more."""
    from training import data
    from training.devices import find_device
    from training.presets import resolve
    from training.runs import DatasetFacts, Run, RunDescription

    config = FitConfig.parse(explicit_values(args))
    folder = Run(args.run or Path("runs") / Path(config.data).stem)
    if (
        folder.path.exists()
        and not folder.exists()
        and (not folder.path.is_dir() or any(folder.path.iterdir()))
    ):
        raise TrainingError(f"--run {folder.path}: exists and is not a run; want a new folder")
    if folder.exists() and not args.overwrite:
        raise TrainingError(
            f"--run {folder.path}: exists already; want --resume, --overwrite or another folder"
        )
    find_device(config.device)
    dataset = data.load(config)
    config = resolve(config, dataset)
    _check_data(dataset, config)
    described = RunDescription(config=config, dataset=DatasetFacts.of(dataset))
    folder.clear()
    folder.describe(described)
    return folder, described, dataset


def _resumed(args: argparse.Namespace) -> "tuple[Run, RunDescription, Dataset]":
    """The run in ``--run``; flags may repeat what it was started with, and name another machine's paths."""
    from training.presets import resolve
    from training.runs import Run, load_same

    if args.run is None:
        raise TrainingError("--resume: want --run, the folder of the run to go on with")
    folder = Run(args.run)
    described = folder.description()
    saved, explicit = described.config, explicit_values(args)
    values = saved.model_dump() | explicit
    if "epochs" in explicit and "steps" not in explicit:
        values["steps"] = None
    here = described.model_copy(update={"config": FitConfig.parse(values)})
    dataset = load_same(here)
    config = resolve(here.config, dataset)
    for name in FitConfig.model_fields:
        wanted, came = getattr(saved, name), getattr(config, name)
        if wanted != came and name not in MACHINE_FIELDS:
            raise TrainingError(
                f"{flag(name)} {came}: the run in {folder.path} was started with {wanted}; "
                "want that, or a new --run"
            )
    described = described.model_copy(update={"config": config})
    folder.describe(described)
    return folder, described, dataset


def _check_data(dataset: "Dataset", config: FitConfig) -> None:
    from training.data.statistics import check, describe, statistics

    found = statistics(dataset)
    print(describe(dataset, found))
    check(dataset, found, likelihood=config.likelihood, binarisation=config.binarisation)


def _print_plan(state: "State", config: FitConfig) -> None:
    count = sum(parameter.numel() for parameter in state.model.parameters())
    images = f", {config.binarisation} binarisation" if config.likelihood == "bernoulli" else ""
    print(
        f"model     {state.model.kind}, {config.network}, {config.latent} latents, {count:,} parameters, "
        f"{config.likelihood} likelihood{images}\n"
        f"training  preset {config.preset}: {config.total_steps:,} steps of {config.batch_size} images, "
        f"seed {config.seed}",
        flush=True,
    )


def _report(outcome: "Outcome", state: "State", config: FitConfig, folder: "Run") -> int:
    steps = f"step {state.step:,} of {config.total_steps:,}"
    if outcome.signal is not None:
        resume = shlex.join(["vae-train", "fit", "--run", str(folder.path), "--resume"])
        print(f"stopped   at {steps}, saved; go on with:\n  {resume}")
        return 128 + outcome.signal
    if outcome.validation is None:
        print(f"finished  {folder.path} was already at {steps}")
    else:
        distortion, rate = outcome.validation["distortion"], outcome.validation["rate"]
        bound = "" if config.model == "ae" else f"−ELBO {distortion + rate:.2f} nats per image: "
        sigma = state.ema.model.likelihood.sigma
        density = "" if sigma is None else f"; σ {sigma:.3f} (a density, so it may be below 0)"
        print(f"validated averaged weights: {bound}distortion {distortion:.2f}, rate {rate:.2f}{density}")
    name = folder.path.resolve().name
    export = ["vae-train", "export", "--run", str(folder.path), "--repository", "models", "--name", name]
    print(f"next:\n  {shlex.join(export)}")
    return 0
