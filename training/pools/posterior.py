"""What the encoder says of the training images, and its statistics."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from serving.bundle import Reference
from training.data import to_unit
from training.models.portions import images_at_once
from training.pools.moments import Floats, covariance_of


@dataclass(frozen=True)
class Posterior:
    """q(z|x) of a set of images."""

    mean: Floats
    """[N, Z]"""
    log_var: Floats
    """[N, Z]"""


@torch.inference_mode()
def posterior(encoder: nn.Module, images: Tensor, *, rows: int = 512) -> tuple[tuple[int, ...], Posterior]:
    """The latent shape, and q(z|x) of images [N, C, H, W], uint8 or float32 in [0, 1].

    The images are not binarised, for a server sees them as they are. ``rows`` of them are encoded at once,
    fewer where they are large.
    """
    means, log_vars = [], []
    for batch in images.split(images_at_once(images.shape[1:], most=rows)):
        mean, log_var = encoder(to_unit(batch))
        means.append(mean.cpu())
        log_vars.append(log_var.cpu())
    mean, log_var = torch.cat(means), torch.cat(log_vars)
    return tuple(mean.shape[1:]), Posterior(mean.flatten(1).numpy(), log_var.flatten(1).numpy())


def reference(latents: Posterior) -> Reference:
    """What the training set looks like in latent space, for drift."""
    mean, log_var = latents.mean.astype(np.float64), latents.log_var.astype(np.float64)
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)
    return Reference(
        mean=mean.mean(axis=0).astype(np.float32),
        covariance=covariance_of(mean).astype(np.float32),
        posterior_variance=np.exp(log_var).mean(axis=0).astype(np.float32),
        kl=kl.mean(axis=0).astype(np.float32),
    )
