"""The pools of a run folder: those of its labels, or those that were found in it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from training.data import Dataset
from training.pools.kinds import FoundKinds, pool_name, read_kinds, write_kinds
from training.pools.labelled import fit_pools
from training.pools.latent_space import Latents, fit_found
from training.pools.mixture import Candidate, find_kinds
from training.pools.naming import name_kinds
from training.pools.posterior import Posterior, posterior, reference
from training.training_error import TrainingError

Source = Literal["auto", "labels", "mixture", "aggregate"]

log = logging.getLogger(__name__)


def latents_of_run(
    folder: Path, encoder: nn.Module, dataset: Dataset, *, step: int, source: Source = "auto"
) -> Latents:
    """Encode the training images of a run, and fit its pools and reference statistics.

    Args:
        folder: of the run; kinds that were found are kept there, names included.
        encoder: image [B, C, H, W] → (mean, log_var).
        step: of the weights in ``encoder``.
        source: "auto" takes the labels where there are any, else the kinds that a mixture finds;
            "aggregate" neither of them.

    Raises:
        TrainingError: labels asked for where there are none.
    """
    labels = dataset.train.labels
    if source == "labels" and labels is None:
        raise TrainingError(f"--pools labels: the data {dataset.name} have none; want mixture or aggregate")
    shape, latents = posterior(encoder, dataset.train.images)
    if source == "mixture" or (source == "auto" and labels is None):
        kinds, assignment = kinds_of_run(folder, latents, step=step)
        fitted = fit_found(latents.mean, *kinds.named(assignment))
    elif source == "aggregate" or labels is None:
        fitted = fit_pools(latents.mean, None, ())
    else:
        fitted = fit_pools(latents.mean, labels.numpy(), dataset.label_names)
    return Latents(shape, latents, *fitted, reference(latents))


def kinds_of_run(
    folder: Path, latents: Posterior, *, step: int, count: int | None = None, seed: int | None = None
) -> tuple[FoundKinds, NDArray[np.int64]]:
    """The kinds in the run folder where they are of these weights, and of this ``count`` and ``seed`` if
    given; else they are found now, and kept there."""
    kept = read_kinds(folder, step=step, images=len(latents.mean))
    if kept and count in (None, kept[0].count) and seed in (None, kept[0].seed):
        return kept
    log.info("looking for kinds among %s posterior means …", f"{len(latents.mean):,}")
    curve = [Candidate(**point.model_dump()) for point in kept[0].curve] if kept else []
    found = find_kinds(latents.mean, count=count, seed=seed or 0, curve=curve)
    kinds = FoundKinds.of(found, step=step, count=count, seed=seed or 0)
    write_kinds(folder, kinds, found.assignment)
    return kinds, found.assignment


def name_kinds_of_run(
    folder: Path,
    found: tuple[FoundKinds, NDArray[np.int64]],
    latents: Posterior,
    examples: tuple[Posterior, Sequence[str]],
) -> FoundKinds:
    """Name the kinds by examples, their posteriors with their labels, and keep that in the run folder."""
    kinds, assignment = found
    of_examples, labels = examples
    fitted = fit_pools(latents.mean, assignment, [pool_name(i) for i in range(len(kinds.kinds))])
    named = name_kinds(kinds, fitted, of_examples.mean, labels)
    write_kinds(folder, named, assignment)
    return named
