"""Latent drift: the posteriors of live images against the training set's.

Moments are kept with exponential forgetting over about ``WINDOW_ROWS`` rows and turned into
statistics when somebody asks, so that batches pay for sums alone, and short ones together.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Reference
from serving.finite import all_finite

Rows = NDArray[np.float32]

WINDOW_ROWS = 10_000
FEWEST_ROWS = 100
"""Before so many there is no figure: the variance of a few images says nothing of the traffic's."""
_ACTIVE_VARIANCE = 0.01
"""A latent is active when its posterior mean varies by more (Burda et al. 2015)."""
_BLOCK_VALUES = 1 << 12
"""Latents that wait to be summed at once: of a single row the sums cost as much as a small encoder."""

Posteriors = list[tuple[Rows, Rows]]
"""Mean and log-variance of some batches."""


class DriftMonitor:
    """Watches one model's encoder; ``update`` may be called from several threads."""

    def __init__(self, reference: Reference, *, learned_prior: bool = False) -> None:
        self._reference = reference
        self._learned_prior = learned_prior
        latents = len(reference.mean)
        self._lock = threading.Lock()
        self._rows = 0.0
        self._sums = np.zeros((3, latents))
        """Σ mean, Σ mean², Σ KL, a column a latent."""
        self._unseen: Posteriors = []
        self._unseen_values = 0
        """Not in the sums yet, and how many they are."""

    def update(self, mean: Rows, log_var: Rows) -> None:
        """Take in the posteriors of one batch: [rows, *latent_shape] each.

        Rows that are not finite are left out: one of them would be all there is to see until a restart.
        """
        if mean.size >= _BLOCK_VALUES:
            self._add([(mean, log_var)])
            return
        with self._lock:
            self._unseen.append((mean.copy(), log_var.copy()))  # theirs is memory that others wait for
            self._unseen_values += mean.size
            if self._unseen_values < _BLOCK_VALUES:
                return
            batches = self._taken()
        self._add(batches)

    def _taken(self) -> Posteriors:
        batches, self._unseen, self._unseen_values = self._unseen, [], 0
        return batches

    def _settle(self) -> None:
        """Before somebody asks."""
        with self._lock:
            batches = self._taken()
        if batches:
            self._add(batches)

    def _add(self, batches: Posteriors) -> None:
        latents = self._sums.shape[1]
        mean, log_var = (
            np.concatenate([some[side] for some in batches]).reshape(-1, latents) for side in (0, 1)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            sums = _sums(mean, log_var)
            if not all_finite(sums):
                finite = np.isfinite(_kl(mean, log_var)).all(axis=1)
                mean, log_var = mean[finite], log_var[finite]
                sums = _sums(mean, log_var)
        keep = np.exp(-len(mean) / WINDOW_ROWS)
        with self._lock:
            self._sums = self._sums * keep + sums
            self._rows = self._rows * keep + len(mean)

    def mean_shift(self) -> float:
        """Root mean square over latents of the shift of the mean, in training standard deviations."""
        mean, _ = self._moments()
        shift = np.square(mean - self._reference.mean) / self._reference_variance()
        return float(np.sqrt(shift.mean()))

    def variance_log_ratio(self) -> float:
        """Mean over latents of |ln(live variance / training variance)| of the posterior mean."""
        _, variance = self._moments()
        ratio = np.maximum(variance, 1e-6) / self._reference_variance()
        return float(np.abs(np.log(ratio)).mean())

    def kl(self) -> float:
        """Nats per image; NaN before ``FEWEST_ROWS`` images, like every statistic here.

        NaN also where the prior is learned: KL(q(z|x) ‖ N(0, I)) is not the rate there, and an estimate of
        the rate wants samples, which Score draws.
        """
        self._settle()
        known = self._rows >= FEWEST_ROWS and not self._learned_prior
        return float((self._sums[2] / self._rows).sum()) if known else float("nan")

    def active_units(self) -> float:
        _, variance = self._moments()
        return float((variance > _ACTIVE_VARIANCE).sum()) if self._rows >= FEWEST_ROWS else float("nan")

    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self._settle()
        with self._lock:
            if self._rows < FEWEST_ROWS:
                nothing = np.full(self._sums.shape[1], np.nan)
                return nothing, nothing
            mean = self._sums[0] / self._rows
            return mean, self._sums[1] / self._rows - np.square(mean)

    def _reference_variance(self) -> NDArray[np.float64]:
        # A collapsed latent has no variance to measure a shift in; its floor keeps the figure finite.
        return np.maximum(np.diagonal(self._reference.covariance).astype(np.float64), 1e-4)


def _sums(mean: Rows, log_var: Rows) -> NDArray[np.float64]:
    """Σ mean, Σ mean², Σ KL: [3, Z]."""
    parts = (mean, np.square(mean), _kl(mean, log_var))
    return np.stack([part.sum(axis=0, dtype=np.float64) for part in parts])


def _kl(mean: Rows, log_var: Rows) -> Rows:
    """KL(N(m, e^v) || N(0, 1)) of each latent, Kingma & Welling 2014, appendix B: [rows, Z]."""
    return np.asarray(0.5 * (np.square(mean) + np.exp(log_var) - 1.0 - log_var), np.float32)
