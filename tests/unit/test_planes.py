"""Ways from the latent space into the plane."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness

from training.evaluate.latents.planes import mapped, principal_directions


def clusters(count, latents, seed=0):
    """Five kinds, well apart, and which of them each point is of."""
    rng = np.random.default_rng(seed)
    kind = np.arange(count) % 5
    centres = 6 * rng.normal(size=(5, latents))
    return (centres[kind] + rng.normal(size=(count, latents))).astype(np.float32), kind


@given(st.integers(0, 2**32 - 1), st.sampled_from([(30, 3), (6, 20), (20, 20)]))
def test_principal_directions_are_those_of_the_largest_variance(seed, shape):
    """Orthonormal, the first the larger, and what they leave varies no more: whatever there is more of."""
    points = np.random.default_rng(seed).normal(size=shape)
    directions = principal_directions(points)
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-9)
    first, second = (points @ directions).var(axis=0)
    rest = points - points.mean(axis=0)
    rest = rest - rest @ directions @ directions.T
    assert first >= second >= np.linalg.svd(rest, compute_uv=False)[0] ** 2 / len(points) - 1e-9


def test_one_or_two_latents_are_the_map():
    """To the bit: two are the plane itself, one is a line in it."""
    points, _ = clusters(20, 2)
    np.testing.assert_array_equal(mapped(points), points)
    line = mapped(points[:, :1])
    np.testing.assert_array_equal(line[:, 0], points[:, 0])
    assert not line[:, 1].any()


@pytest.mark.parametrize("latents", [3, 40])
def test_neighbours_on_the_map_are_neighbours_in_the_latent_space(latents):
    """Kinds that are apart stay apart, and it is the same map whenever it is made."""
    points, kind = clusters(200, latents)
    found = mapped(points)
    assert found.shape == (200, 2)
    assert found.dtype == np.float32
    assert trustworthiness(points, found, n_neighbors=10) > 0.85
    squares = np.square(found[:, None] - found).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    assert (kind[squares.argmin(axis=1)] == kind).mean() > 0.9
    np.testing.assert_array_equal(mapped(points), found)


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(np.full((20, 5), 3, np.float32), id="all alike"),
        pytest.param(np.repeat(np.eye(4, 5, dtype=np.float32), 6, axis=0), id="four places"),
        pytest.param(np.outer(np.arange(20), np.ones(5)).astype(np.float32), id="a line"),
        pytest.param(clusters(20, 3)[0] * np.float32(1e17), id="far away"),
        pytest.param(clusters(20, 3)[0] * np.float32(1e-30), id="very near"),
        pytest.param(clusters(20, 3000)[0], id="many latents"),
        pytest.param(np.eye(20, dtype=np.float32), id="equally far"),
        pytest.param(np.r_[np.zeros((19, 3)), [[1, 0, 0]]].astype(np.float32), id="one apart"),
    ],
)
def test_odd_latents_have_a_map_as_well(points):
    """Finite, a place for each point, and no warning."""
    found = mapped(points)
    assert found.shape == (len(points), 2)
    assert np.isfinite(found).all()
    if np.ptp(points) > 0:
        assert np.ptp(found) > 0
