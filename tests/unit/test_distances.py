"""Distances and manifolds of feature vectors, against what is known exactly."""

import numpy as np
import pytest
import torch

from training.evaluate.samples.distances import RIDGE, frechet_distance, kernel_distance, squared_mmd
from training.evaluate.samples.precision_recall import Manifold


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Points whose sample mean and unbiased covariance are exactly these."""
    points = np.random.default_rng(seed).normal(size=(count, len(mean)))
    points -= points.mean(axis=0)
    white = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_known_gaussians():
    """‖μ₁ - μ₂‖² + Σ (σ₁ - σ₂)² where the covariances have common axes, in any rotation, to 1e-5."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    first, second = np.array([1.0, 2, 3, 0.5, 0.1]), np.array([2.0, 2, 1, 0.7, 0.3])
    shift = np.array([0.3, 0, -1, 0, 2])
    one = with_moments(shift, rotation @ np.diag(first**2) @ rotation.T, 200, seed=1)
    other = with_moments(np.zeros(5), rotation @ np.diag(second**2) @ rotation.T, 300, seed=2)
    exact = (shift**2).sum() + ((first - second) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(exact, abs=1e-5)
    assert frechet_distance(other, one) == pytest.approx(exact, abs=1e-5)
    assert frechet_distance(one, one[::-1]) == pytest.approx(0, abs=1e-8)


def test_frechet_distance_where_a_feature_never_fires():
    """Singular covariances, which networks with ReLUs give, change nothing beyond the ridge."""
    one, other = (np.random.default_rng(seed).normal(seed, 1, size=(100, 3)) for seed in (0, 1))
    dead = np.zeros((100, 4))
    wider = frechet_distance(np.hstack([one, dead]), np.hstack([other, dead]))
    assert wider == pytest.approx(frechet_distance(one, other), abs=20 * RIDGE)


def test_kernel_distance_is_the_unbiased_estimate():
    """What the definition's double sums over pairs i ≠ j give."""
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(7, 3)), draw.normal(0.5, 1, size=(6, 3))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 3 + 1) ** 3

    def within(points: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(points)) for j in range(len(points)) if i != j]
        return np.mean([kernel(points[i], points[j]) for i, j in pairs])

    across = np.mean([kernel(x, y) for x in one for y in other])
    assert squared_mmd(one, other) == pytest.approx(within(one) + within(other) - 2 * across)


def test_kernel_distance_is_zero_between_draws_of_one_distribution():
    """Its mean is within its spread of zero there, far beyond it elsewhere, and the seed decides it."""
    draw = np.random.default_rng(0)
    one, same, moved = (draw.normal(mean, 1, size=(600, 4)) for mean in (0, 0, 0.5))
    mean, spread = kernel_distance(one, same, seed=0)
    assert abs(mean) < 2 * spread
    far, spread = kernel_distance(one, moved, seed=0)
    assert far > 5 * spread > 0
    assert kernel_distance(one, moved, seed=0) == (far, spread)


def test_precision_and_recall_see_what_is_missing():
    """Samples of one of two real clusters: all real, half of the variety; a stray cluster: half are not real."""
    draw = torch.Generator().manual_seed(0)
    left, right, stray, more = (torch.randn(200, 3, generator=draw) + x for x in (0.0, 20.0, 40.0, 0.0))
    real = Manifold.around(torch.cat([left, right]))
    assert real.share_inside(more) > 0.8
    assert Manifold.around(more).share_inside(torch.cat([left, right])) == pytest.approx(0.45, abs=0.06)
    assert real.share_inside(torch.cat([left, stray])) == 0.5


def test_radius_is_the_distance_to_the_third_fellow():
    """On a line of points 0, 1, 2 …, the ball of 0 reaches to 3, and the point itself is no fellow."""
    assert Manifold.around(torch.arange(10.0)[:, None]).radii[0] == 3
