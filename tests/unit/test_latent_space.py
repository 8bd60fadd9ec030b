"""Pools and drift: what the server knows about latent space."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bundle import PoolEntry, Pools, Reference
from serving.latent.drift import FEWEST_ROWS, DriftMonitor
from serving.latent.noise import standard_normal
from serving.latent.pool_set import PoolSet
from serving.metrics.registry import Metrics

MEAN = np.array([[4.0, 0.0], [-4.0, 0.0], [0.0, 0.0]], np.float32)
FACTOR = np.array([[1.0, 0.0], [0.5, 0.8]], np.float32)


def pool_set():
    entries = tuple(PoolEntry(name=n, rows=5, aggregate=n == "all") for n in ("left", "right", "all"))
    return PoolSet(entries, Pools(np.array([0.7, 0.3, 1.0], np.float32), MEAN, np.stack([FACTOR] * 3)))


@given(st.integers(0, 2**64 - 1), st.integers(1, 70), st.data())
def test_a_pool_row_does_not_depend_on_the_others(seed, rows, data):
    """Row i of a pool is bit-equal alone and among any number of rows."""
    row = data.draw(st.integers(0, rows - 1))
    pools = pool_set()
    together = pools.latents("left", standard_normal(seed, 0, rows, 2))
    alone = pools.latents("left", standard_normal(seed, row, 1, 2))
    assert np.array_equal(together[row], alone[0])


def test_pool_samples_have_the_pools_moments():
    """The mean and covariance of many samples are those of the Gaussian."""
    drawn = pool_set().latents("right", standard_normal(1, 0, 100_000, 2))
    np.testing.assert_allclose(drawn.mean(axis=0), MEAN[1], atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), FACTOR @ FACTOR.T, atol=0.02)


def test_pool_probabilities_are_bayes():
    """p(pool | z) is weight × density, normalised over the kinds; the aggregate is none of them."""
    from scipy import stats

    points = np.array([[4.0, 0.0], [0.1, 0.2], [-30.0, 5.0]])
    covariance = FACTOR.astype(float) @ FACTOR.T.astype(float)
    joint = np.stack(
        [
            w * stats.multivariate_normal(MEAN[i], covariance).pdf(points[:2])
            for i, w in enumerate((0.7, 0.3))
        ],
        1,
    )
    came = pool_set().probabilities(points)
    np.testing.assert_allclose(came[:2], joint / joint.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(came.sum(axis=1), 1.0, rtol=1e-6)
    assert pool_set().kinds == ["left", "right"]


def reference(latents=2):
    identity = np.eye(latents, dtype=np.float32)
    return Reference(np.zeros(latents, np.float32), identity, *np.ones((2, latents), np.float32))


def test_drift_says_nothing_of_a_few_rows():
    """The variance of one image is no variance: there is no figure before a hundred rows, then there is."""
    monitor = DriftMonitor(reference())
    rows = np.random.default_rng(0).normal(size=(FEWEST_ROWS + 1, 2)).astype(np.float32)
    figures = (monitor.mean_shift, monitor.variance_log_ratio, monitor.kl, monitor.active_units)
    for row in rows[: FEWEST_ROWS - 1]:
        monitor.update(row[None], np.zeros((1, 2), np.float32))
    assert all(np.isnan(figure()) for figure in figures)
    monitor.update(rows[-2:], np.zeros((2, 2), np.float32))
    assert all(np.isfinite(figure()) for figure in figures)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("part", ["mean", "log_var"])
def test_drift_forgets_no_traffic_for_one_bad_row(bad, part):
    """A row that is not finite, or whose square is not, is left out; the others count as without it."""
    rng = np.random.default_rng(0)
    mean, log_var = rng.normal(size=(2, 200, 2)).astype(np.float32)
    clean, spoilt = DriftMonitor(reference()), DriftMonitor(reference())
    clean.update(np.delete(mean, 7, axis=0), np.delete(log_var, 7, axis=0))
    (mean if part == "mean" else log_var)[7, 0] = bad
    spoilt.update(mean, log_var)
    for name in ("mean_shift", "variance_log_ratio", "kl", "active_units"):
        assert getattr(spoilt, name)() == pytest.approx(getattr(clean, name)(), rel=1e-6), name


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_drift_is_the_same_however_its_rows_came(sizes, seed):
    """Short batches are summed together, and none is missing when somebody asks; their memory may be used
    for others as soon as they were shown."""
    mean, log_var = np.random.default_rng(seed).normal(3, 2, (2, 100 + sum(sizes), 2)).astype(np.float32)
    whole, pieces = DriftMonitor(reference()), DriftMonitor(reference())
    whole.update(mean, log_var)
    for some in np.split(np.arange(len(mean)), np.cumsum([*[1] * 100, *sizes])):
        lent = mean[some], log_var[some]
        pieces.update(*lent)
        for array in lent:
            array.fill(np.nan)
    for name in ("mean_shift", "variance_log_ratio", "kl", "active_units"):
        assert getattr(pieces, name)() == pytest.approx(getattr(whole, name)(), rel=0.1), name


def test_drift_is_zero_at_home_and_grows_away():
    """Traffic like the training set shows no drift; shifted traffic shows its shift in standard deviations."""
    covariance = np.diag([4.0, 0.25]).astype(np.float32)
    reference = Reference(
        np.array([1.0, -1.0], np.float32), covariance, np.ones(2, np.float32), np.ones(2, np.float32)
    )
    metrics = Metrics()
    monitor = DriftMonitor(reference)
    metrics.watch_latents("toy", monitor)
    assert np.isnan(monitor.mean_shift())

    rng = np.random.default_rng(0)
    home = rng.normal([1.0, -1.0], [2.0, 0.5], (50_000, 2)).astype(np.float32)
    monitor.update(home, np.zeros_like(home))
    assert monitor.mean_shift() < 0.03
    assert monitor.variance_log_ratio() < 0.03
    expected_kl = 0.5 * np.square(home).sum(axis=1).mean()
    assert abs(monitor.kl() - expected_kl) < 0.1
    assert monitor.active_units() == 2

    away = home + np.array([6.0, 1.5], np.float32)
    for _ in range(3):
        monitor.update(away, np.zeros_like(away))
    assert abs(monitor.mean_shift() - 3.0) < 0.1
    drift = metrics.registry.get_sample_value("vae_latent_drift", {"model": "toy", "statistic": "mean_shift"})
    assert abs(drift - 3.0) < 0.1
    metrics.watch_latents("toy", None)
    drift = metrics.registry.get_sample_value("vae_latent_drift", {"model": "toy", "statistic": "mean_shift"})
    assert np.isnan(drift)
