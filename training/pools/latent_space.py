"""What a bundle says of its training images in latent space."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from serving.bundle import PoolEntry, Pools, Reference
from training.pools.kinds import pool_name
from training.pools.labelled import Fitted, fit_pools
from training.pools.mixture import find_kinds
from training.pools.moments import Floats
from training.pools.posterior import Posterior, posterior, reference
from training.pools.unknown_pool import with_unknown


@dataclass(frozen=True)
class Latents:
    """What a bundle says of its training images in latent space."""

    shape: tuple[int, ...]
    """Of the latents of one image; Z is its product."""
    posterior: Posterior
    entries: tuple[PoolEntry, ...]
    pools: Pools
    reference: Reference


def fit_latents(
    encoder: nn.Module, images: Tensor, labels: Tensor | None, label_names: Sequence[str]
) -> Latents:
    """Encode the training images, and fit the pools and the reference statistics.

    One pool a label; without labels, one for each kind that a mixture finds (see ``find_kinds``).
    """
    shape, latents = posterior(encoder, images)
    if labels is None:
        assignment = find_kinds(latents.mean).assignment
        fitted = fit_found(latents.mean, assignment, [pool_name(i) for i in range(assignment.max() + 1)])
    else:
        fitted = fit_pools(latents.mean, labels.numpy(), label_names)
    return Latents(shape, latents, *fitted, reference(latents))


def fit_found(mean: Floats, assignment: NDArray[np.int64], names: Sequence[str]) -> Fitted:
    """Pools of the kinds that were found, "unknown" and the aggregate; one kind alone is the aggregate.

    Args:
        mean: [N, Z] posterior means.
        assignment: [N] index into ``names``.
    """
    if len(names) < 2:
        return fit_pools(mean, None, ())
    return with_unknown(fit_pools(mean, assignment, names), mean, assignment)
