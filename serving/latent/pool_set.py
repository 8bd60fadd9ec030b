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
        self._log_det = np.log(np.diagonal(self._cholesky, axis1=1, axis2=2)).sum(axis=1)
        self._whitening = np.linalg.inv(self._cholesky).transpose(0, 2, 1)
        """Points times this have the covariance I, if they are of the pool."""

    def __contains__(self, name: str) -> bool:
        return name in self._index

    def latents(self, name: str, noise: Doubles) -> Doubles:
        """mean + L·noise: [rows, Z] → [rows, Z].

        Column by column instead of by a matrix product: BLAS adds in another order for another
        number of rows, and a row must not depend on how many were asked for. L is lower triangular.
        """
        index = self._index[name]
        latents = np.repeat(self._mean[index][:, None], len(noise), axis=1)  # [Z, rows]
        products = np.empty_like(latents)
        columns = np.ascontiguousarray(noise.T)
        for column, factor in enumerate(self._cholesky[index].T):
            np.multiply.outer(factor[column:], columns[column], out=products[column:])
            latents[column:] += products[column:]
        return np.ascontiguousarray(latents.T)

    def probabilities(self, mean: Doubles) -> NDArray[np.float32]:
        """p(pool | posterior mean) over ``kinds``: [rows, Z] → [rows, kinds]; each row sums to 1."""
        scores = np.stack([self._log_density(index, mean) for index in self._kinds], axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        likelihood = np.exp(scores)
        return np.asarray(likelihood / likelihood.sum(axis=1, keepdims=True), np.float32)

    def _log_density(self, index: int, points: Doubles) -> Doubles:
        """log(weight) + log N(points; mean, L Lᵀ), up to a constant common to all pools."""
        whitened = (points - self._mean[index]) @ self._whitening[index]
        distance = np.square(whitened).sum(axis=1)
        return np.asarray(self._log_weight[index] - self._log_det[index] - 0.5 * distance)
