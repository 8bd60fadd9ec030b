"""Gaussians from the moments of points in latent space.

Z is the number of latents, N of points.
"""

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Pools
from training.training_error import TrainingError

IMAGES_PER_LATENT = 10
"""Below this many images a latent, a covariance is too uncertain to stand alone."""

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


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


def drawn_from(pools: Pools, row: int, noise: Floats) -> Floats:
    """Latents of the pool in a row of ``pools``: noise [n, Z] ~ N(0, I) -> [n, Z]."""
    latents: Floats = pools.mean[row] + noise @ pools.cholesky[row].T
    return latents


def gaussian_of(members: Doubles, target: Doubles) -> tuple[Doubles, Doubles]:
    """Mean and covariance; a small class borrows from ``target``.

    With n images in Z dimensions, n < 10 Z, the covariance is (n S + m T) / (n + m), m = 10 Z - n: as if the
    missing images had been drawn from the target T. S is the class's own covariance, 0 for one image.
    T is the average covariance within the classes (for the aggregate: its own variances alone).
    """
    count, latents = members.shape
    own = covariance_of(members)
    missing = max(0, IMAGES_PER_LATENT * latents - count)
    return members.mean(axis=0), (count * own + missing * target) / (count + missing)


def within_class_covariance(points: Doubles, labels: NDArray[np.int64]) -> Doubles:
    """[Z, Z] of the distances to the own class's mean; that of all where every class has one image."""
    classes, members = np.unique(labels, return_inverse=True)
    freedom = len(points) - len(classes)
    if freedom < 1:
        return covariance_of(points)
    centres = np.stack([points[labels == label].mean(axis=0) for label in classes])
    distances = points - centres[members]
    return np.asarray(distances.T @ distances / freedom)


def covariance_of(points: Doubles) -> Doubles:
    """[Z, Z] sample covariance; zeros for a single point."""
    distances = points - points.mean(axis=0)
    return np.asarray(distances.T @ distances / max(1, len(points) - 1))


def log_density(points: Doubles, mean: Doubles, lower: Doubles) -> Doubles:
    """log N(points; mean, L Lᵀ): [N, Z] → [N], nats."""
    whitened = np.linalg.solve(lower, (points - mean).T)
    log_det = float(np.log(np.diagonal(lower)).sum())
    constant = 0.5 * len(mean) * np.log(2 * np.pi) + log_det
    return np.asarray(-constant - 0.5 * np.square(whitened).sum(axis=0))
