"""How far the aggregate posterior q(z) is from the prior, and how much a latent says of its image.

rate = MI(x, z) + KL(q(z) ‖ p(z)): Hoffman & Johnson 2016, "ELBO surgery". q(z) = E_x[q(z|x)] has no closed
form, so both parts are bounded from both sides instead of guessed. N is the number of images, Z of latents, M
of rows at once. Everything is in nats.
"""

import math
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from training.data import to_unit
from training.evaluate.evaluated_model import EvaluatedModel, Use
from training.evaluate.tables import Row, Table
from training.models import VAE
from training.models.gaussians import gaussian_log_density
from training.models.portions import images_at_once

ROWS = 500
LOG_2PI = math.log(2 * math.pi)
COMPONENTS = 20
IMAGES_PER_COMPONENT = 100
FITTED = 10_000
"""Training images that the density is fitted to."""
ITERATIONS = 50


@torch.inference_mode()
def aggregate_rows(evaluated: EvaluatedModel) -> Table:
    """Lower and upper bound of ``mi`` and of ``kl``, KL(q(z) ‖ p(z)), over the held-out images.

    One draw of each posterior enters; the images are as the likelihood sees them. A density r(z), fitted to
    training images, gives KL ≥ E[log r(z) - log p(z)]; the mixture of all N posteriors gives MI ≥ what
    ``mixture_log_density`` says, but never more than log N. Each leaves the other the rest of the rate.
    """
    generator = evaluated.generator(Use.POSTERIOR)
    train = evaluated.subset(evaluated.dataset.train, FITTED).images
    fitted, _, _ = _draws(evaluated, train, generator)
    latent, mean, log_var = _draws(evaluated, evaluated.held_out.images, generator)
    shaped = latent.float().unflatten(1, evaluated.model.latent_shape)
    log_prior = evaluated.model.prior.log_prob(shaped).double()
    own = gaussian_log_density(latent, mean, log_var)
    density = torch.from_numpy(
        _fitted_density(fitted, seed=evaluated.seed_for(Use.DENSITY)).score_samples(latent.numpy())
    )
    mixture = mixture_log_density(latent, mean, log_var)
    lower = {"mi": own - mixture, "kl": density - log_prior}
    upper = {"mi": own - density, "kl": mixture - log_prior}
    return {"at least": _means(lower), "at most": _means(upper)}


def _means(columns: dict[str, Tensor]) -> Row:
    """With standard errors over images."""
    row: Row = {}
    for name, values in columns.items():
        row[name], row[f"{name}_se"] = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    return row


def _draws(
    evaluated: EvaluatedModel, images: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """One latent for each image, and mean and log-variance of its posterior; flat, float64: [N, Z] each."""
    mean, log_var = _posterior(evaluated.model, evaluated.as_seen(to_unit(images)))
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
    return mean + (0.5 * log_var).exp() * noise, mean, log_var


def _posterior(model: VAE, images: Tensor) -> tuple[Tensor, Tensor]:
    portions = images.split(images_at_once(model.data_shape, most=ROWS))
    parts = [model.encoder(rows) for rows in portions]
    mean, log_var = (torch.cat(part).flatten(1).double() for part in zip(*parts, strict=True))
    return mean, log_var


def _fitted_density(latents: Tensor, *, seed: int) -> GaussianMixture:
    """Any density will do for a bound; the closer it comes to q(z), the tighter the bound."""
    components = max(1, min(COMPONENTS, len(latents) // IMAGES_PER_COMPONENT))
    mixture = GaussianMixture(components, max_iter=ITERATIONS, random_state=seed, init_params="k-means++")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(np.ascontiguousarray(latents.numpy()))


def mixture_log_density(latent: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log (1/N) Σ_n q(z_i|x_n) for a draw z_i of each of N posteriors: three times [N, Z] -> [N].

    In expectation more than log q(z), since a draw meets its own posterior, so log q(z_i|x_i) minus this is a
    lower bound of the mutual information: Poole et al. 2019 (arXiv:1905.06922).
    """
    count, latents = mean.shape
    precision = (-log_var).exp()
    scaled = mean * precision
    constant = -0.5 * ((mean * scaled + log_var).sum(dim=1) + latents * LOG_2PI)
    parts = [
        (rows @ scaled.T - 0.5 * rows.square() @ precision.T + constant).logsumexp(dim=1)  # of [M, N]
        for rows in latent.split(ROWS)
    ]
    return torch.cat(parts) - math.log(count)
