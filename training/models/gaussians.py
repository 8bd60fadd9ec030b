"""Diagonal Gaussians: densities and divergences in nats.

Z stands for the latent axes, of which there may be several.
"""

import math

from torch import Tensor


def gaussian_kl_per_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) ‖ N(0, 1)) of each latent, in nats.

    Shapes: mean, log_var [B, Z] -> [B, Z].
    Source: Kingma & Welling 2014 (arXiv:1312.6114), appendix B.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, diag exp(log_var)) ‖ N(0, I)) in nats, summed over latents: [B, Z] -> [B]."""
    return gaussian_kl_per_dimension(mean, log_var).flatten(1).sum(dim=1)


def gaussian_log_density(value: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(value; mean, diag exp(log_var)) in nats, summed over the latents of ``mean`` [B, Z].

    ``value`` may have leading axes: [..., B, Z] -> [..., B].
    """
    density = -0.5 * ((value - mean).square() * (-log_var).exp() + log_var + math.log(2 * math.pi))
    return density.flatten(density.dim() - mean.dim() + 1).sum(dim=-1)
