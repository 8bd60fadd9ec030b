"""The score: how well a model explains an image, as one graph (``score.onnx``)."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data import to_unit
from training.models.flow import RealNVP
from training.models.gaussians import gaussian_kl, gaussian_log_density
from training.models.likelihood import Likelihood
from training.models.portions import images_at_once
from training.models.priors import StandardNormal
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


class Score(nn.Module):
    """Distortion, rate and importance weights of images, in nats summed over pixels and latents.

    Args:
        encoder: image [B, C, H, W] in [0, 1] → (mean, log_var), each [B, *latent_shape].
        decoder: latent [n, *latent_shape] → logits [n, P, H, W] of ``likelihood``.
        likelihood: p(x|z).
        prior: p(z).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | RealNVP,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Distortion and rate [B], and log_weight [B, k], of B images with k draws each.

        Shapes: image [B, C, H, W] in [0, 1]; noise [B, k, *latent_shape] ~ N(0, I).

        Distortion -log p(x|z) and rate are means over the k draws of q(z|x), the rate in closed form where
        the prior is N(0, I); ``log_weight`` is log p(x|z) + log p(z) - log q(z|x) of each draw, so that
        -logmeanexp over k estimates -log p(x): Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519),
        equation 8. distortion + rate is -ELBO.

        A Bernoulli likelihood takes the image as it is: for grey pixels the distortion is the mean over all
        binary images with these chances, given the posterior of the grey one. The exact -ELBO of a model
        trained on binarised images wants binary images. A discretised likelihood takes an image between its
        256 levels for the nearest one.
        """
        mean, log_var = self.encoder(image)
        draws = noise.transpose(0, 1)
        latent = mean + (0.5 * log_var).exp() * draws  # [k, B, *latent_shape]
        logits = self.decoder(latent.flatten(0, 1)).unflatten(0, draws.shape[:2])
        log_prob = self.likelihood.log_prob(image, logits)
        posterior = gaussian_log_density(latent, mean, log_var)
        estimates = posterior - self.prior.log_prob(latent)
        closed_form = self.prior.name == "standard_normal"
        rate = gaussian_kl(mean, log_var) if closed_form else estimates.mean(dim=0)
        return -log_prob.mean(dim=0), rate, (log_prob - estimates).transpose(0, 1)


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
        distortion, rate, _ = score(to_unit(images[rows]), noise)
        nelbo.append(distortion + rate)
    scores = torch.cat(nelbo)
    if not scores.isfinite().all():
        broken = int((~scores.isfinite()).sum())
        raise TrainingError(f"score: want finite nats, came {broken} of {len(scores)} images without")
    return HeldOutScores(chosen.numpy(), scores.numpy())
