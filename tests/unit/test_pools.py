"""Pools: Gaussians fitted to posterior means."""

import numpy as np
import pytest
import torch
from torch import nn

from serving.bundle import Pools, Reference
from training.pools import Posterior, cholesky, fit_latents, fit_pools, reference
from training.training_error import TrainingError


def covariances(pools: Pools) -> np.ndarray:
    return pools.cholesky @ pools.cholesky.transpose(0, 2, 1)


def test_pools_are_the_moments_of_their_images():
    """With many images a pool is their mean and sample covariance, its weight their share."""
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0, 0], [0.5, 0.3, 0], [-0.4, 0.2, 0.9]])
    labels = np.repeat([0, 1], [3000, 1000])
    points = rng.standard_normal((4000, 3)) @ mixing.T + np.where(labels, 5.0, -5.0)[:, None]
    entries, pools = fit_pools(points.astype(np.float32), labels, ("low", "high"))
    assert [(e.name, e.rows, e.aggregate) for e in entries] == [
        ("low", 3000, False),
        ("high", 1000, False),
        ("aggregate", 4000, True),
    ]
    np.testing.assert_allclose(pools.weight, [0.75, 0.25, 1.0])
    for row, members in enumerate((points[labels == 0], points[labels == 1], points)):
        np.testing.assert_allclose(pools.mean[row], members.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(covariances(pools)[row], np.cov(members.T), rtol=1e-4, atol=1e-4)
    assert Pools.from_bytes(pools.to_bytes(), pools=3, latents=3).mean.shape == (3, 3)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_small_class_borrows_the_shape_of_the_others(count):
    """A class of a few images keeps its mean; what it cannot know of its covariance comes from the others."""
    rng = np.random.default_rng(1)
    spread = np.array([2.0, 0.5, 1.0, 0.1])
    large = rng.standard_normal((2000, 4)) * spread
    small = rng.standard_normal((count, 4)) * spread + 10
    labels = np.repeat([0, 1], [2000, count])
    _, pools = fit_pools(np.concatenate([large, small]).astype(np.float32), labels, ("large", "small"))
    np.testing.assert_allclose(pools.mean[1], small.mean(axis=0), rtol=1e-5)
    deviations = np.sqrt(np.diagonal(covariances(pools)[1]))
    np.testing.assert_allclose(deviations, spread, rtol=0.15)


def test_collapsed_and_duplicate_latents_still_have_a_cholesky_factor():
    """Constant, equal and tiny latents make singular covariances; the jitter that repairs them is tiny."""
    rng = np.random.default_rng(2)
    one = rng.standard_normal(500)
    points = np.stack([one, one, np.full(500, 3.0), 1e-9 * rng.standard_normal(500)], axis=1)
    _, pools = fit_pools(points.astype(np.float32), None, ())
    assert (np.diagonal(pools.cholesky, axis1=1, axis2=2) > 0).all()
    np.testing.assert_allclose(covariances(pools)[0], np.cov(points.T), atol=1e-3)
    regular = np.array([[2.0, 0.3], [0.3, 1.0]])
    np.testing.assert_allclose(cholesky(regular), np.linalg.cholesky(regular), rtol=1e-6)


def test_without_labels_there_is_the_aggregate_alone():
    """Unlabelled data have one pool; a label without images has none."""
    points = np.random.default_rng(0).standard_normal((50, 2), dtype=np.float32)
    entries, _ = fit_pools(points, None, ())
    assert [entry.name for entry in entries] == ["aggregate"]
    entries, _ = fit_pools(points, np.zeros(50, np.int64), ("cat", "dog"))
    assert [entry.name for entry in entries] == ["cat", "aggregate"]


def test_what_cannot_be_fitted_is_refused():
    """A label called "aggregate", a single image, and values that are not finite."""
    points = np.zeros((4, 2), np.float32)
    with pytest.raises(TrainingError, match="'aggregate': is the name of the pool of all data"):
        fit_pools(points, np.zeros(4, np.int64), ("aggregate",))
    with pytest.raises(TrainingError, match="at least 2 images"):
        fit_pools(points[:1], None, ())
    with pytest.raises(TrainingError, match="finite"):
        fit_pools(np.full((4, 2), np.nan, np.float32), None, ())


def test_reference_statistics():
    """Moments of the means, mean variance, and the divergence from N(0, 1), latent by latent."""
    rng = np.random.default_rng(3)
    mean = rng.standard_normal((400, 2), dtype=np.float32)
    log_var = np.full((400, 2), np.log(0.25), np.float32)
    found = reference(Posterior(mean, log_var))
    np.testing.assert_allclose(found.covariance, np.cov(mean.T), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.posterior_variance, 0.25, rtol=1e-6)
    q = torch.distributions.Normal(torch.from_numpy(mean), 0.5)
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(dim=0)
    np.testing.assert_allclose(found.kl, kl.numpy(), rtol=1e-5)
    assert Reference.from_bytes(found.to_bytes(), latents=2).kl.shape == (2,)


def test_spatial_latents_are_flattened_row_by_row():
    """Latents of any shape are fitted as vectors in C order; the shape is kept; uint8 images are scaled."""

    class Spatial(nn.Module):
        def forward(self, image):
            mean = nn.functional.avg_pool2d(image, 2)
            return mean, torch.zeros_like(mean)

    images = torch.randint(0, 256, (1030, 3, 4, 6), dtype=torch.uint8)
    latents = fit_latents(Spatial(), images, None, ())
    assert latents.shape == (3, 2, 3)
    expected = nn.functional.avg_pool2d(images.float() / 255, 2).flatten(1)
    torch.testing.assert_close(torch.from_numpy(latents.posterior.mean), expected)
    assert latents.pools.cholesky.shape == (1, 18, 18)
