"""Sampling from pools and telling which pool a latent belongs to."""

import numpy as np
from numpy.typing import NDArray

from serving.bundle import PoolEntry, Pools

Doubles = NDArray[np.float64]


class PoolSet:
    """The Gaussians of a bundle, ready to be drawn from. Z is the number of latents."""

    def __init__(self, entries: tuple[PoolEntry, ...], tensors: Pools) -> None:
        self.entries = entries
        self.weight = tensors.weight.astype(np.float64)
        self._mean = tensors.mean.astype(np.float64)
        self._cholesky = tensors.cholesky.astype(np.float64)
        self._index = {entry.name: index for index, entry in enumerate(entries)}
        self._kinds = [index for index, entry in enumerate(entries) if not entry.aggregate]
        self.kinds = [entries[index].name for index in self._kinds]
        """The pools that are kinds of data, that is all but the aggregate."""
        self._log_weight = np.log(np.maximum(self.weight, 1e-300))

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def latents(self, name: str, noise: Doubles) -> Doubles:
        """mean + L·noise: [rows, Z] → [rows, Z].

        Column by column instead of by a matrix product: BLAS adds in another order for another
        number of rows, and a row must not depend on how many were asked for.
        """
        index = self._index[name]
        latents = np.broadcast_to(self._mean[index], noise.shape).copy()
        for column, factor in zip(noise.T, self._cholesky[index].T, strict=True):
            latents += column[:, None] * factor
        return latents

    def probabilities(self, mean: Doubles) -> NDArray[np.float32]:
        """p(pool | posterior mean) over ``kinds``: [rows, Z] → [rows, kinds]; each row sums to 1."""
        scores = np.stack([self._log_density(index, mean) for index in self._kinds], axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        likelihood = np.exp(scores)
        return np.asarray(likelihood / likelihood.sum(axis=1, keepdims=True), np.float32)

    def _log_density(self, index: int, points: Doubles) -> Doubles:
        """log(weight) + log N(points; mean, L Lᵀ), up to a constant common to all pools."""
        factor = self._cholesky[index]
        whitened = np.linalg.solve(factor, (points - self._mean[index]).T)
        log_det = np.log(np.diagonal(factor)).sum()
        return np.asarray(self._log_weight[index] - log_det - 0.5 * np.square(whitened).sum(axis=0))
