"""``vae-train fit``: train a model, or go on with one that was stopped."""

import argparse
import logging
import math
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from training.commands.flags import add_config_flags, explicit_values, path_flag
from training.config import MACHINE_FIELDS, FitConfig, flag, latent_in_words
from training.training_error import TrainingError

if TYPE_CHECKING:  # torch and the rest are imported when there is something to train
    from collections.abc import Mapping

    from training.data import Dataset
    from training.fit.distributed import World
    from training.fit.loop import Outcome
    from training.fit.state import State
    from training.models import VAE
    from training.runs import Run, RunDescription
    from training.runs.checkpoint import Checkpoint

EXAMPLES = """\
examples:
  vae-train fit                                              the embedded digits, about a minute
  vae-train fit --data path/to/images --run runs/mine        a folder of images, sub-folders are labels
  vae-train fit --data mnist --preset standard --run runs/mnist
  vae-train fit --run runs/mnist --resume                    go on after Ctrl-C or a crash
  torchrun --nproc-per-node 2 -m -- training fit --data mnist   two processes share each batch
"""


def add(subparsers: "argparse._SubParsersAction[Any]") -> None:
    from training.modalities import describe_presets

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
    again.add_argument(
        "--restartable",
        action="store_true",
        help="begin the run in --run, or go on with it if it was begun: for jobs that are started again",
    )
    add_config_flags(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    from training.fit.distributed import PeerLost, joined

    try:
        with joined() as world:
            return _fit(args, world)
    except PeerLost as exc:
        print(f"vae-train: {exc}", file=sys.stderr)
        return 1


class _Start(NamedTuple):
    """What rank 0 finds out and all processes begin with; the data each loads by itself."""

    folder: "Run"
    described: "RunDescription"
    latest: "Checkpoint | None"


def _fit(args: argparse.Namespace, world: "World") -> int:
    from training.fit.loop import train
    from training.fit.state import State
    from training.models.devices import find_device, search_kernels, use_threads
    from training.runs import load_same

    if not world.is_main:  # what all processes see, one tells
        logging.getLogger("training").setLevel(logging.ERROR)
    loaded: list[Dataset] = []  # by rank 0, while it checks them
    folder, described, latest = world.from_main(lambda: _start(args, world, loaded))
    dataset = world.together(lambda: loaded[0] if loaded else load_same(described))
    config = described.config
    use_threads(config.threads)
    device = world.together(lambda: world.device(find_device(config.device)))
    search_kernels(device)
    state = State.fresh(config, dataset.spec, device)
    if latest:
        world.together(lambda: state.restore(latest))
    if world.is_main:
        _print_plan(state, dataset, config, folder, world)
    outcome = train(state, dataset, config, folder, owner=described.owner, world=world)
    if world.is_main:
        _report(outcome, state, config, folder)
    return 0 if outcome.signal is None else 128 + outcome.signal


def _start(args: argparse.Namespace, world: "World", loaded: "list[Dataset]") -> _Start:
    from training.runs import Run, checkpoint

    if args.restartable and args.run is None:
        raise TrainingError("--restartable: want --run, the folder of the run to begin or to go on with")
    resume = args.resume or (args.restartable and Run(args.run).exists())
    folder, described, dataset = (_resumed if resume else _begun)(args, world)
    loaded.append(dataset)
    saved = checkpoint.files(folder.checkpoints) if resume else []
    latest = checkpoint.load_latest(folder.checkpoints, owner=described.owner) if saved else None
    return _Start(folder, described, latest)


def _begun(args: argparse.Namespace, world: "World") -> "tuple[Run, RunDescription, Dataset]":
    """A new run folder; made only when nothing about the data or the options is wrong any more."""
    from training.commands.memory_at_hand import fitted
    from training.modalities import load, modality_of, resolve
    from training.models.devices import find_device
    from training.runs import DatasetFacts, Run, RunDescription

    config = FitConfig.parse(explicit_values(args))
    folder = Run(args.run or Path("runs") / Path(config.data).stem)
    if (
        os.path.exists(folder.path)
        and not folder.exists()
        and (not folder.path.is_dir() or any(folder.path.iterdir()))
    ):
        raise TrainingError(f"--run {folder.path}: exists and is not a run; want a new folder")
    if folder.exists() and not args.overwrite:
        raise TrainingError(
            f"--run {folder.path}: exists already; want --resume, --overwrite or another folder"
        )
    find_device(config.device)
    dataset = load(config)
    config = resolve(config, dataset, processes=world.size)
    is_open = "accumulate" not in explicit_values(args)
    config = fitted(config, dataset.spec, processes=world.size, is_open=is_open)
    _check_parts(config, world)
    modality_of(config).announce(dataset, config)
    described = RunDescription(config=config, dataset=DatasetFacts.of(dataset))
    folder.clear()
    folder.describe(described)
    return folder, described, dataset


def _resumed(args: argparse.Namespace, world: "World") -> "tuple[Run, RunDescription, Dataset]":
    """The run in ``--run``; flags may repeat what it was started with, and name another machine's paths."""
    from training.modalities import resolve
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
    _check_parts(config, world)
    described = described.model_copy(update={"config": config})
    folder.describe(described)
    return folder, described, dataset


def _check_parts(config: FitConfig, world: "World") -> None:
    """Whether the batch can be cut into equal parts that add up to the whole."""
    parts = world.size * config.accumulate
    came = f"{world.size} processes with --accumulate {config.accumulate}"
    if config.batch_size % parts:
        raise TrainingError(f"--batch-size {config.batch_size}: want a multiple of {parts}, for {came}")
    if config.free_bits and parts > 1:
        raise TrainingError(
            f"--free-bits {config.free_bits}: averages its rates over the whole batch, want it in one part; "
            f"came {came}"
        )
    for name in ("dropout", "input_noise"):
        if (value := getattr(config, name)) and parts > 1:
            raise TrainingError(
                f"{flag(name)} {value}: draws for the whole batch, want it in one part, or {flag(name)} 0; "
                f"came {came}"
            )


def _print_plan(state: "State", dataset: "Dataset", config: FitConfig, folder: "Run", world: "World") -> None:
    from training.commands.memory_at_hand import in_words
    from training.modalities import modality_of

    if state.step:
        print(f"resumed   {folder.path} at step {state.step:,} of {config.total_steps:,}")
    count = sum(parameter.numel() for parameter in state.model.parameters())
    latents = latent_in_words(config.latent)
    images = f", {config.binarisation} binarisation" if config.likelihood == "bernoulli" else ""
    unit = modality_of(config).unit
    shared = f", shared by {world.size} processes" if world.size > 1 else ""
    print(
        f"model     {state.model.kind}, {config.network}, {latents} latents, {count:,} parameters, "
        f"{config.likelihood} likelihood{images}\n"
        f"training  preset {config.preset}: {config.total_steps:,} steps of {config.batch_size} {unit}, "
        f"seed {config.seed}{shared}\n"
        f"memory    {in_words(config, dataset.spec)}",
        flush=True,
    )


def _print_best(last: float, folder: "Run", unit: str) -> None:
    """Where the loss rose again towards the end, what is kept."""
    from training.runs import checkpoint

    best = checkpoint.lowest_loss(folder.checkpoints)
    if best and best[1] < last:
        print(
            f"kept      step {best[0]:,}, whose loss {best[1]:.2f} on the validation {unit} is the lowest: "
            "it is what is evaluated and exported"
        )


def _bound_in_words(validation: "Mapping[str, float]", model: "VAE", unit: str) -> str:
    from training.evaluate.metrics import DISCRETE, bits_per_dim

    distortion, rate = validation["distortion"], validation["rate"]
    nelbo = distortion + rate
    parts = f"distortion {distortion:.2f}, rate {rate:.2f}"
    if model.likelihood.sigma is not None:
        parts += f"; σ {model.likelihood.sigma:.3f} (a density, so it may be below 0)"
    if model.kind == "ae":
        return parts
    if model.likelihood.name in DISCRETE:
        parts += f"; {bits_per_dim(nelbo, math.prod(model.data_shape)):.2f} bits/dim of 256 levels"
    return f"−ELBO {nelbo:.2f} nats per {unit.removesuffix('s')}: {parts}"


def _report(outcome: "Outcome", state: "State", config: FitConfig, folder: "Run") -> None:
    from training.modalities import modality_of

    unit = modality_of(config).unit
    steps = f"step {state.step:,} of {config.total_steps:,}"
    if outcome.signal is not None:
        resume = shlex.join(["vae-train", "fit", *path_flag("--run", folder.path), "--resume"])
        print(f"stopped   at {steps}, saved; go on with:\n  {resume}")
        return
    if outcome.validation is None:
        print(f"finished  {folder.path} was already at {steps}")
    else:
        print(f"validated averaged weights: {_bound_in_words(outcome.validation, state.ema.model, unit)}")
        _print_best(outcome.validation["loss"], folder, unit)
    export = ["vae-train", "export", *path_flag("--run", folder.path), "--repository", "models"]
    export += ["--name", folder.model_name]
    print(f"next:\n  {shlex.join(export)}")
