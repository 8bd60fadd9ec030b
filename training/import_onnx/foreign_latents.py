"""Pools and reference statistics of a foreign encoder on the user's images."""

import math

import numpy as np
import torch
from torch import Tensor

from serving.bundle import PoolEntry
from training.data import Dataset, to_unit
from training.import_onnx.equivalence import Compute
from training.import_onnx.foreign_model import ForeignModel
from training.pools import Posterior, fit_pools, reference
from training.training_error import TrainingError

MAX_LATENTS = 2048
"""A pool holds a covariance of latents × latents: 16 MB at this many."""
BATCH_ROWS = 16


def fit_foreign_latents(
    encode: Compute, dataset: Dataset, foreign: ForeignModel
) -> tuple[tuple[PoolEntry, ...], dict[str, bytes]]:
    """The pools and the files ``pools.safetensors`` and ``reference.safetensors``.

    Pools live where callers sample, in scaled latents; the reference is of the latents that the graphs
    know, for there the server watches the drift.

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
    return entries, files


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
