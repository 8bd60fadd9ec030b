"""Pools: one Gaussian in latent space for each kind of data, fitted to the posterior means of its images.

The kinds are the labels where there are any, else they are found (``training.pools.mixture``).
Z is the number of latents, that is the product of the latent shape; N of images; P of pools.
"""

from training.data.label_names import AGGREGATE
from training.pools.labelled import UNKNOWN, fit_pools
from training.pools.latent_space import Latents, fit_latents
from training.pools.moments import cholesky, drawn_from
from training.pools.posterior import Posterior, posterior, reference

__all__ = [
    "AGGREGATE",
    "UNKNOWN",
    "Latents",
    "Posterior",
    "cholesky",
    "drawn_from",
    "fit_latents",
    "fit_pools",
    "posterior",
    "reference",
]
