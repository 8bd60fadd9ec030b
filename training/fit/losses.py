"""What is minimised, and its parts, in nats per image.

B is the batch, k the number of importance samples, Z stands for the latent axes (one or more).
Sums run over pixels and latents, means over the batch.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from training.config import FitConfig
from training.models import VAE
from training.models.gaussians import gaussian_kl_per_dimension, gaussian_log_density

Scalar = float | Tensor
"""A tensor where a step is recorded once and then repeated with other values."""


class Bound(NamedTuple):
    """Scalars, mean over the batch."""

    loss: Tensor
    """What is minimised: distortion + β · rate, for β = 1 the negative ELBO, or a tighter bound than that."""
    distortion: Tensor
    """-E[log p(x|z)] in nats."""
    rate: Tensor
    """KL(q(z|x) ‖ p(z)) in nats, not weighted by β; 0 for an autoencoder."""


class Objective(Protocol):
    """``objective``, or the same compiled."""

    def __call__(
        self, model: VAE, image: Tensor, noise: Tensor, *, beta: Scalar, free_bits: float
    ) -> Bound: ...


def objective(model: VAE, image: Tensor, noise: Tensor, *, beta: Scalar, free_bits: float = 0.0) -> Bound:
    """The loss of the model's kind: ``importance_weighted`` for noise [k, B, Z], else ``elbo``."""
    if model.kind == "iwae":
        return importance_weighted(model, image, noise, beta=beta)
    return elbo(model, image, noise, beta=beta, free_bits=free_bits)


def objective_in_words(config: FitConfig) -> str:
    """What was minimised, for those who meet the model later; of a resolved config.

    The first word names the objective: distortion, elbo, beta_elbo (whose β is not 1) or iwae.
    """
    if config.model == "ae":
        return "distortion"
    if config.model == "iwae":
        since = f" after {config.importance_from:.0%} of the steps" if config.importance_from else ""
        return f"iwae, k = {config.importance_samples}{since}, doubly reparameterised gradients (DReG)"
    words = ["elbo" if config.beta == 1 else "beta_elbo"]
    if config.free_bits:
        words.append(f"{config.free_bits:g} free nats per latent")
    if config.beta_cycles > 1 and config.warmup:
        words.append(f"beta in {config.beta_cycles} cycles")
    return ", ".join(words)


def loss_in_words(model: VAE) -> str:
    """The formula of what ``objective`` minimises, but for free bits."""
    if model.kind == "ae":
        return "distortion"
    if model.kind == "iwae":
        return f"−log (1/{model.importance_samples}) Σ p(x, z) / q(z|x)"
    return "distortion + β · rate"


def elbo(model: VAE, image: Tensor, noise: Tensor, *, beta: Scalar, free_bits: float = 0.0) -> Bound:
    """The negative ELBO with one posterior sample per image.

    Shapes: image [B, C, H, W] in [0, 1]; noise [B, Z] ~ N(0, I). An autoencoder ignores the noise.

    ``free_bits``, in nats, is what each latent may tell about an image for nothing (Kingma et al. 2016,
    arXiv:1606.04934, section C.8): its rate, averaged over the batch, costs no less. It changes the loss
    alone, ``rate`` stays what it is; it wants the prior N(0, I), which has a rate for each latent.
    """
    mean, log_var = model.encoder(image)
    mean, log_var = mean.float(), log_var.float()  # under autocast, the bound is still float32
    if model.kind == "ae":
        distortion = -model.likelihood.log_prob(image, model.decoder(mean)).mean()
        return Bound(distortion, distortion, torch.zeros_like(distortion))
    latent = mean + (0.5 * log_var).exp() * noise
    distortion = -model.likelihood.log_prob(image, model.decoder(latent)).mean()
    rate = model.prior.rate(mean, log_var, latent).mean()
    paid = rate
    if free_bits:
        paid = gaussian_kl_per_dimension(mean, log_var).mean(dim=0).clamp(min=free_bits).sum()
    return Bound(distortion + beta * paid, distortion, rate)


def importance_weighted(model: VAE, image: Tensor, noise: Tensor, *, beta: Scalar) -> Bound:
    """The negative importance-weighted bound of k samples, with doubly reparameterised gradients.

    Shapes: image [B, C, H, W] in [0, 1]; noise [k, B, Z] ~ N(0, I).

    Source: Burda et al. 2016 (arXiv:1509.00519), equation 8, with the estimator of Tucker et al. 2019
    (arXiv:1810.04152), equation 6: the encoder's gradient flows through the samples alone, each weighted by
    the square of its normalised weight, so more samples do not drown it in noise.
    """
    mean, log_var = model.encoder(image)
    mean, log_var = mean.float(), log_var.float()
    latent = mean + (0.5 * log_var).exp() * noise
    log_prob = model.likelihood.log_prob(image, _decoded(model, latent))
    posterior = gaussian_log_density(latent, mean.detach(), log_var.detach())
    rate = posterior - model.prior.log_prob(latent)
    weights = log_prob - beta * rate
    shares = weights.detach().softmax(dim=0)
    if latent.requires_grad:
        per_latent = shares.reshape(*shares.shape, *[1] * (latent.dim() - 2))
        latent.register_hook(lambda gradient: gradient * per_latent)
    value = -(
        weights.detach().logsumexp(dim=0) - torch.log(torch.full_like(weights[0, 0], len(weights)))
    ).mean()
    surrogate = -(shares * weights).sum(dim=0).mean()
    # The gradient of the one, the value of the other.
    return Bound(surrogate + (value - surrogate).detach(), -log_prob.mean(), rate.mean())


def _decoded(model: VAE, latent: Tensor) -> Tensor:
    """[k, B, Z] -> logits [k, B, P, H, W]."""
    logits: Tensor = model.decoder(latent.flatten(0, 1)).unflatten(0, latent.shape[:2])
    return logits
