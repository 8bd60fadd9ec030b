"""Two distances between sets of feature vectors, each zero if the sets come from one distribution.

N and M are numbers of images, d that of features. Only distances in the same features compare.
"""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]

RIDGE = 1e-6
"""On the diagonal of both covariances: features that never fire would make them singular."""
SUBSETS = 100
SUBSET_IMAGES = 1000


def frechet_distance(one: Features, other: Features) -> float:
    """Squared Wasserstein distance of the Gaussians with the moments of features [N, d] and [M, d].

    ‖μ₁ - μ₂‖² + tr(S₁ + S₂ - 2 (S₁ S₂)^½), unbiased covariances: Heusel et al. 2017 (arXiv:1706.08500),
    equation 6. Biased upwards where N or M is not far above d, so it wants its real-against-real line.
    """
    first, second = _covariance(one), _covariance(other)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    # (S₁ S₂)^½ has the trace of (S₁^½ S₂ S₁^½)^½, which is symmetric: its eigenvalues are real.
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(min=0)).sum()
    shift = one.mean(axis=0) - other.mean(axis=0)
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * cross)


def _covariance(features: Features) -> Features:
    covariance: Features = np.cov(features, rowvar=False, ddof=1) + RIDGE * np.eye(features.shape[1])
    return covariance


def kernel_distance(one: Features, other: Features, *, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over 100 subsets of the squared MMD.

    A subset has 1000 images, or half of the smaller set if that is less: subsets of all would be the same.
    Unbiased, kernel (x·y/d + 1)³: Bińkowski et al. 2018 (arXiv:1801.01401). May be negative near zero.
    """
    draw = np.random.default_rng(seed)
    size = min(SUBSET_IMAGES, len(one) // 2, len(other) // 2)
    subsets = [
        squared_mmd(one[draw.permutation(len(one))[:size]], other[draw.permutation(len(other))[:size]])
        for _ in range(SUBSETS)
    ]
    return float(np.mean(subsets)), float(np.std(subsets, ddof=1))


def squared_mmd(one: Features, other: Features) -> float:
    """Unbiased estimate from features [n, d] and [m, d]: Gretton et al. 2012, JMLR 13, lemma 6."""
    within = _mean_off_diagonal(_kernel(one, one)) + _mean_off_diagonal(_kernel(other, other))
    return float(within - 2 * _kernel(one, other).mean())


def _kernel(one: Features, other: Features) -> Features:
    linear: Features = one @ other.T / one.shape[1] + 1
    return linear * linear * linear  # ten times as fast as a power


def _mean_off_diagonal(kernel: Features) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
