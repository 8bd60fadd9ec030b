"""Evaluate the model of a run folder on its own data."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from training.data import Dataset
from training.evaluate.estimates import Precision, estimate
from training.evaluate.metrics import Metrics, Protocol, summarise
from training.evaluate.tables import Group
from training.modalities import modality_of
from training.runs import LoadedRun, Run, trained_steps
from training.runs.training_log import training_speed
from training.training_error import TrainingError

QUICK_IMAGES = 1000
QUICK_K = 100

log = logging.getLogger(__name__)


def evaluate_run(
    run: Run,
    loaded: LoadedRun,
    dataset: Dataset,
    *,
    split: Literal["val", "test"] = "test",
    k: int = 100,
    seed: int = 0,
    limit: int | None = None,
    decoder: Precision = "float32",
) -> Metrics:
    """Evaluate where the model lies and write ``metrics.json``; groups of the same weights stay in it.

    Args:
        k: importance samples of ``nll_<k>``.
        seed: of the noise, and of the choice of images where ``limit`` asks for fewer than there are.
        limit: evaluate a random subset of this many images.
        decoder: what its matrix products are computed in.

    Raises:
        TrainingError: a limit or k below 1, or an empty split.
    """
    binary = loaded.config.binarisation == "dynamic"
    everything = (dataset.binarised(split) if binary else getattr(dataset, split)).images
    images = _subset(everything, limit, seed)
    began = time.perf_counter()
    estimates = estimate(loaded.model, images, k=k, seed=seed, decoder=decoder, progress=True)
    seconds = time.perf_counter() - began
    training_seconds, training_rate = training_speed(run)
    protocol = Protocol(
        dataset=dataset.name,
        split=split,
        images=len(images),
        images_in_split=len(everything),
        binarisation="dynamic" if binary else "none",
        likelihood=loaded.model.likelihood.name,
        k=None if loaded.model.kind == "ae" else k,
        decoder=decoder,
        device="cuda" if next(loaded.model.parameters()).is_cuda else "cpu",
        model_seed=loaded.config.seed,
        evaluation_seed=seed,
        step=trained_steps(run),
        seconds=seconds,
        images_per_second=len(images) / seconds,
        training_seconds=training_seconds,
        training_images_per_second=training_rate,
    )
    metrics = summarise(estimates, protocol, pixels=images[0].numel())
    return _written(replace(metrics, groups=_present_groups(run)), run.metrics_file)


def likelihood_known(
    run: Run,
    *,
    split: Literal["val", "test"],
    k: int,
    seed: int,
    limit: int | None,
    decoder: Precision = "float32",
    device: str = "cpu",
) -> Metrics | None:
    """What ``metrics.json`` says, if ``evaluate_run`` with these arguments would say the same."""
    try:
        metrics = Metrics.read(run.metrics_file)
    except TrainingError:
        return None
    protocol = metrics.protocol
    images = protocol.images_in_split if limit is None else min(limit, protocol.images_in_split)
    asked = (split, seed, images, trained_steps(run), decoder, device)
    taken = (
        protocol.split, protocol.evaluation_seed, protocol.images, protocol.step, protocol.decoder,
        protocol.device,
    )  # fmt: skip
    return metrics if asked == taken and protocol.k in (k, None) else None


def add_group(run: Run, metrics: Metrics, name: str, group: Group) -> Metrics:
    """``metrics`` with one of ``metrics.GROUPS``, written to ``metrics.json``."""
    return _written(replace(metrics, groups={**metrics.groups, name: group}), run.metrics_file)


def _present_groups(run: Run) -> Mapping[str, Group]:
    """Those in ``metrics.json`` that were measured on the present weights."""
    try:
        known = Metrics.read(run.metrics_file).groups
    except TrainingError:
        return {}
    step = trained_steps(run)
    return {name: group for name, group in known.items() if group.protocol.get("step") == step}


def known_metrics(run: Run) -> Metrics | None:
    """What ``vae-train evaluate`` wrote of the present weights, if it did."""
    try:
        metrics = Metrics.read(run.metrics_file)
    except TrainingError:
        return None
    return metrics if metrics.protocol.step == trained_steps(run) else None


def present_metrics(run: Run, loaded: LoadedRun, dataset: Dataset) -> Metrics:
    """Of the present weights: ``known_metrics``, or else a quick evaluation now."""
    if metrics := known_metrics(run):
        return metrics
    unit = modality_of(loaded.config).unit
    log.info("%s: not evaluated yet; doing so on at most %d test %s", run.path, QUICK_IMAGES, unit)
    return evaluate_run(run, loaded, dataset, k=QUICK_K, limit=QUICK_IMAGES)


def _subset(images: Tensor, limit: int | None, seed: int) -> Tensor:
    """At random: the first test images of MNIST, for one, are easier than the rest."""
    if limit is not None and limit < 1:
        raise TrainingError(f"--images {limit}: want at least 1")
    if limit is None or limit >= len(images):
        return images
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:limit]
    return images[chosen.sort().values]


def _written(metrics: Metrics, path: Path) -> Metrics:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(metrics.to_json())
        os.replace(partial, path)
    except OSError as exc:
        raise TrainingError(f"{path}: cannot be written: {exc.strerror}") from None
    return metrics
