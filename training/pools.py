"""Pools: one Gaussian in latent space for each kind of data, fitted to the posterior means of its images.

Z is the number of latents, that is the product of the latent shape; N of images; P of pools.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serving.bundle import PoolEntry, Pools, Reference
from training.data import to_unit
from training.errors import TrainingError

AGGREGATE = "aggregate"
"""The pool of all the data together."""
IMAGES_PER_LATENT = 10
"""Below this many images a latent, a covariance is too uncertain to stand alone."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """q(z|x) of a set of images."""

    mean: Floats
    """[N, Z]"""
    log_var: Floats
    """[N, Z]"""


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
    """Encode the training images, and fit the pools and the reference statistics; see ``fit_pools``."""
    shape, latents = posterior(encoder, images)
    entries, pools = fit_pools(latents.mean, None if labels is None else labels.numpy(), label_names)
    return Latents(shape, latents, entries, pools, reference(latents))


@torch.inference_mode()
def posterior(encoder: nn.Module, images: Tensor, *, rows: int = 512) -> tuple[tuple[int, ...], Posterior]:
    """The latent shape, and q(z|x) of images [N, C, H, W], uint8 or float32 in [0, 1].

    The images are not binarised, for a server sees them as they are.
    """
    means, log_vars = [], []
    for batch in images.split(rows):
        mean, log_var = encoder(to_unit(batch))
        means.append(mean.cpu())
        log_vars.append(log_var.cpu())
    mean, log_var = torch.cat(means), torch.cat(log_vars)
    return tuple(mean.shape[1:]), Posterior(mean.flatten(1).numpy(), log_var.flatten(1).numpy())


def fit_pools(
    mean: Floats, labels: NDArray[np.int64] | None, label_names: Sequence[str]
) -> tuple[tuple[PoolEntry, ...], Pools]:
    """One pool a label that has images, in the order of ``label_names``, then the pool of all images.

    Args:
        mean: [N, Z] posterior means of the training images.
        labels: [N] index into ``label_names``; None leaves the aggregate pool alone.

    Raises:
        TrainingError: fewer than 2 images, values that are not finite, or a label called "aggregate".
    """
    if len(mean) < 2 or not np.isfinite(mean).all():
        raise TrainingError(f"pools: want at least 2 images with finite posterior means, came {len(mean)}")
    if AGGREGATE in label_names:
        raise TrainingError(f"label {AGGREGATE!r}: is the name of the pool of all data; rename the label")
    points = mean.astype(np.float64)
    entries, fits = [], []
    if labels is not None:
        within = _within_class_covariance(points, labels)
        for index, name in enumerate(label_names):
            members = points[labels == index]
            if len(members):
                entries.append(PoolEntry(name=name, rows=len(members), aggregate=False))
                fits.append(_fit(members, within))
    entries.append(PoolEntry(name=AGGREGATE, rows=len(points), aggregate=True))
    fits.append(_fit(points, np.diag(points.var(axis=0))))
    pools = Pools(
        weight=np.array([entry.rows / len(points) for entry in entries], np.float32),
        mean=np.stack([centre for centre, _ in fits]).astype(np.float32),
        cholesky=np.stack([cholesky(covariance) for _, covariance in fits]),
    )
    return tuple(entries), pools


def reference(latents: Posterior) -> Reference:
    """What the training set looks like in latent space, for drift."""
    mean, log_var = latents.mean.astype(np.float64), latents.log_var.astype(np.float64)
    kl = 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)
    return Reference(
        mean=mean.mean(axis=0).astype(np.float32),
        covariance=_covariance(mean).astype(np.float32),
        posterior_variance=np.exp(log_var).mean(axis=0).astype(np.float32),
        kl=kl.mean(axis=0).astype(np.float32),
    )


def cholesky(covariance: Doubles) -> Floats:
    """Lower triangular L [Z, Z] with L Lᵀ = covariance + the smallest jitter that makes it definite.

    A latent that the encoder ignores has a variance near 0, so a sample covariance can be singular.
    """
    scale = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    identity = np.eye(len(covariance))
    for jitter in (0.0, *(10.0**power for power in range(-12, 1))):
        try:
            lower = np.linalg.cholesky(covariance + jitter * scale * identity).astype(np.float32)
        except np.linalg.LinAlgError:
            continue
        if (np.diag(lower) > 0).all():  # still so after rounding to float32
            return lower
    raise TrainingError("pools: a covariance of the posterior means is not positive semi-definite")


def _fit(members: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and covariance; a small class borrows from ``target``.

    With n images in Z dimensions, n < 10 Z, the covariance is (n S + m T) / (n + m), m = 10 Z - n: as if the
    missing images had been drawn from the target T. S is the class's own covariance, 0 for one image.
    T is the average covariance within the classes (for the aggregate: its own variances alone).
    """
    count, latents = members.shape
    own = _covariance(members)
    missing = max(0, IMAGES_PER_LATENT * latents - count)
    return members.mean(axis=0), (count * own + missing * target) / (count + missing)


def _within_class_covariance(points: Doubles, labels: NDArray[np.int64]) -> Doubles:
    """[Z, Z] of the distances to the own class's mean; that of all where every class has one image."""
    classes, members = np.unique(labels, return_inverse=True)
    freedom = len(points) - len(classes)
    if freedom < 1:
        return _covariance(points)
    centres = np.stack([points[labels == label].mean(axis=0) for label in classes])
    distances = points - centres[members]
    return np.asarray(distances.T @ distances / freedom)


def _covariance(points: Doubles) -> Doubles:
    """[Z, Z] sample covariance; zeros for a single point."""
    distances = points - points.mean(axis=0)
    return np.asarray(distances.T @ distances / max(1, len(points) - 1))
