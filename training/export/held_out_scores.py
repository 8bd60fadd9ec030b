"""What the score says of images that a model was not trained on."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data import to_unit
from training.models.portions import images_at_once
from training.training_error import TrainingError

log = logging.getLogger(__name__)

QUANTILES = 1001
REFERENCE_IMAGES = 10_000
FEWEST_IMAGES = 20
"""Held out, that quantiles are taken of: of fewer, none lies above the quantile 0.95."""
REFERENCE_DRAWS = 4
"""Of each posterior. The spread between draws, a few nats, is small beside the one between images."""
SEED = 0
ROWS_AT_ONCE = 250


class HeldOutScores(NamedTuple):
    """What a score says of images that the model was not trained on."""

    rows: NDArray[np.int64]
    """[n] of the images."""
    nelbo: NDArray[np.float32]
    """[n] nats."""

    @property
    def quantiles(self) -> NDArray[np.float32]:
        """0, 0.001 … 1 of them: [1001]."""
        return np.asarray(np.quantile(self.nelbo, np.linspace(0, 1, QUANTILES)), np.float32)

    @property
    def places(self) -> NDArray[np.float32]:
        """[n] of each image among all, 0 to 1, as the server reads it off the quantiles."""
        shares = np.linspace(0, 1, QUANTILES)
        return np.interp(self.nelbo, self.quantiles, shares).astype(np.float32)


@torch.inference_mode()
def held_out_scores(
    score: nn.Module, held_out: Tensor | None, latent_shape: Sequence[int]
) -> HeldOutScores | None:
    """-ELBO, in nats, of at most 10,000 held-out images [N, C, H, W].

    Of images that the model was not trained on, for it explains those that it was better than any that will
    come; and as they are, not binarised, for that is what a server is shown. None where there are too few of
    them, which is logged.

    Raises:
        TrainingError: a score that is infinite or no number.
    """
    images = torch.empty(0) if held_out is None else held_out
    if len(images) < FEWEST_IMAGES:
        log.warning(
            "score: its quantile is left out; want at least %d validation images, came %d",
            FEWEST_IMAGES,
            len(images),
        )
        return None
    source = torch.Generator().manual_seed(SEED)
    chosen = torch.randperm(len(images), generator=source)[:REFERENCE_IMAGES].sort().values
    nelbo = []
    for rows in chosen.split(images_at_once(images.shape[1:], most=ROWS_AT_ONCE, samples=REFERENCE_DRAWS)):
        noise = torch.randn((len(rows), REFERENCE_DRAWS, *latent_shape), generator=source)
        distortion, rate, *_ = score(to_unit(images[rows]), noise)
        nelbo.append(distortion + rate)
    scores = torch.cat(nelbo)
    if not scores.isfinite().all():
        broken = int((~scores.isfinite()).sum())
        raise TrainingError(f"score: want finite nats, came {broken} of {len(scores)} images without")
    return HeldOutScores(chosen.numpy(), scores.numpy())
