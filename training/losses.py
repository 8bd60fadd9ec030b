"""The evidence lower bound (ELBO) and its parts, in nats per image.

B is the batch, k the number of importance samples, Z stands for the latent axes (one or more).
Sums run over pixels and latents, means over the batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from training.gaussians import gaussian_kl, gaussian_kl_per_dimension, gaussian_log_density
from training.models import VAE

__all__ = ["Elbo", "elbo", "gaussian_kl", "gaussian_kl_per_dimension", "log_weights"]


class Elbo(NamedTuple):
    """Scalars, mean over the batch."""

    loss: Tensor
    """distortion + β · rate; for β = 1 the negative ELBO."""
    distortion: Tensor
    """-E[log p(x|z)] in nats."""
    rate: Tensor
    """KL(q(z|x) ‖ p(z)) in nats, not weighted by β; 0 for an autoencoder."""


def elbo(model: VAE, image: Tensor, noise: Tensor, *, beta: float) -> Elbo:
    """The negative ELBO with one posterior sample per image.

    Shapes: image [B, C, H, W] in [0, 1]; noise [B, Z] ~ N(0, I). An autoencoder ignores the noise.
    """
    mean, log_var = model.encoder(image)
    mean, log_var = mean.float(), log_var.float()  # under autocast, the bound is still float32
    if model.kind == "ae":
        distortion = -model.likelihood.log_prob(image, model.decoder(mean)).mean()
        return Elbo(distortion, distortion, torch.zeros_like(distortion))
    latent = mean + (0.5 * log_var).exp() * noise
    distortion = -model.likelihood.log_prob(image, model.decoder(latent)).mean()
    rate = model.prior.rate(mean, log_var, latent).mean()
    return Elbo(distortion + beta * rate, distortion, rate)


def log_weights(model: VAE, image: Tensor, noise: Tensor) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) for k samples of the posterior, in nats.

    Shapes: image [B, C, H, W]; noise [k, B, Z] ~ N(0, I) -> [k, B]. The mean over k of their
    exponentials estimates p(x): Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519), equation 8.
    """
    mean, log_var = (part.float() for part in model.encoder(image))
    latent = mean + (0.5 * log_var).exp() * noise
    logits = model.decoder(latent.flatten(0, 1)).unflatten(0, noise.shape[:2])
    posterior = gaussian_log_density(latent, mean, log_var)
    return model.likelihood.log_prob(image, logits) + model.prior.log_prob(latent) - posterior
