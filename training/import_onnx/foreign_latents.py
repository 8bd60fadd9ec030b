"""Pools and reference statistics of a foreign encoder on the user's images."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from serving.bundle import PROJECTION, PoolEntry
from training.data import Dataset, to_unit
from training.evaluate.latents.held_out_map import labels_of_map, projection_of, rows_of_map
from training.import_onnx.equivalence import Compute
from training.import_onnx.foreign_model import ForeignModel
from training.pools import Posterior, fit_pools, reference
from training.pools.labelled import Fitted
from training.pools.moments import Floats
from training.training_error import TrainingError

MAX_LATENTS = 2048
"""A pool holds a covariance of latents × latents: 16 MB at this many."""
BATCH_ROWS = 16


def fit_foreign_latents(
    encode: Compute, dataset: Dataset, foreign: ForeignModel, *, projection: bool = True
) -> tuple[tuple[PoolEntry, ...], dict[str, bytes]]:
    """The pools and the files ``pools.safetensors``, ``reference.safetensors`` and, if wanted, the map's.

    Pools and map live where callers sample, in scaled latents; the reference is of the latents that the
    graphs know, for there the server watches the drift.

    Args:
        encode: the sealed encoder.

    Raises:
        TrainingError: more than ``MAX_LATENTS`` latents, or see ``fit_pools``.
    """
    images, labels = _everything(dataset)
    posterior = _posterior(encode, images, foreign)
    scaled = (posterior.mean - np.float32(foreign.latent_shift)) * np.float32(foreign.latent_scale)
    entries, pools = fit_pools(scaled, None if labels is None else labels.numpy(), dataset.label_names)
    files = {
        "pools.safetensors": pools.to_bytes(),
        "reference.safetensors": reference(posterior).to_bytes(),
    }
    if projection:
        files |= _map_file(scaled, labels, dataset.label_names, (entries, pools))
    return entries, files


def _map_file(
    mean: Floats, given: Tensor | None, label_names: Sequence[str], fitted: Fitted
) -> dict[str, bytes]:
    """Where the images lie; nothing where there can be no map."""
    labels = labels_of_map(given, len(mean), label_names)
    rows = rows_of_map(labels, *mean.shape)
    if rows is None:
        return {}
    found = projection_of(mean[rows], None if labels is None else labels[rows], label_names, fitted)
    return {} if found is None else {PROJECTION: found.to_bytes()}


def _posterior(encode: Compute, images: Tensor, foreign: ForeignModel) -> Posterior:
    means, log_vars = [], []
    for batch in images.split(BATCH_ROWS):
        mean, log_var = encode(foreign.in_range(to_unit(batch).numpy()), None)
        latents = math.prod(mean.shape[1:])
        if latents > MAX_LATENTS:
            raise TrainingError(
                f"--data: want at most {MAX_LATENTS} latents for pools, came {latents}; "
                "leave --data out, or take a smaller --image-size"
            )
        means.append(mean.reshape(len(batch), latents))
        log_vars.append(log_var.reshape(len(batch), latents))
    return Posterior(np.concatenate(means), np.concatenate(log_vars))


def _everything(dataset: Dataset) -> tuple[Tensor, Tensor | None]:
    """All splits: nothing is trained here, so nothing needs to be held out."""
    splits = (dataset.train, dataset.val, dataset.test)
    labels = [split.labels for split in splits if split.labels is not None]
    return torch.cat([split.images for split in splits]), torch.cat(labels) if labels else None
