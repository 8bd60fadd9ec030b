"""The density of a numeric column of few rows: a Gaussian of its score, with mean and deviation predicted.

Two parameters: the mean, and log σ, both in units of score. Values of a lattice have the density of what they
are rounded from. n is the number of rows.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.cells import Doubles
from serving.bundle.tables.normal_scores import Limits, NormalScores

Array = NDArray[Any]

LARGEST_LOG_SIGMA: Final = 7.0
"""Beyond ± this log σ is taken as this."""
_HALF_LOG_TAU: Final = 0.5 * math.log(2 * math.pi)
_ERFC = np.frompyfunc(math.erfc, 1, 1)
_QUANTILE = np.frompyfunc(NormalDist().inv_cdf, 1, 1)
_SMALLEST: Final = 1e-300


@dataclass(frozen=True, eq=False)
class Gaussian(NormalScores):
    """What is predicted of a number is where its score lies, and how exactly."""

    heaps: tuple[bool, bool] = (False, False)
    """Whether the data heap up at the lower and at the upper bound. What lies beyond such a bound is drawn as
    it; at another the density is cut off, or draws would heap up where the data do not."""

    def code(self, values: Doubles) -> NDArray[np.intp]:
        """0: there is one code only."""
        return np.zeros(len(values), np.intp)

    def log_density(self, parameters: Doubles, values: Doubles) -> Doubles:
        """[n] log density of the scores of values [n] under parameters [2, n], in nats."""
        mean, log_sigma = self._moments(parameters, 1.0)
        distance = (self.score(values) - mean) * np.exp(-log_sigma)
        return -0.5 * distance**2 - log_sigma - _HALF_LOG_TAU

    def drawn(
        self, parameters: Array, uniforms: Array, temperature: float, limits: Limits | None = None
    ) -> Doubles:
        """[n] values for parameters [2, n] and uniforms [n, 2] in (0, 1), of which the second counts.

        ``temperature`` divides the log density: σ is √temperature times as large.
        """
        return self._quantile(self._moments(parameters, temperature), uniforms[:, 1], limits)

    def median(self, parameters: Array, limits: Limits | None = None) -> Doubles:
        """[n] of the density, cut off at the limits if there are any."""
        return self._quantile(self._moments(parameters, 1.0), np.full(parameters.shape[1], 0.5), limits)

    def _moments(self, parameters: Array, temperature: float) -> tuple[Doubles, Doubles]:
        mean, log_sigma = parameters.astype(np.float64)
        log_sigma = np.clip(log_sigma, -LARGEST_LOG_SIGMA, LARGEST_LOG_SIGMA)
        return mean, log_sigma + 0.5 * math.log(temperature)

    def _quantile(self, moments: tuple[Doubles, Doubles], uniforms: Array, limits: Limits | None) -> Doubles:
        mean, sigma = moments[0], np.exp(moments[1])
        low, high = limits or (np.full(len(mean), -np.inf), np.full(len(mean), np.inf))
        half = (self.lattice or 0.0) / 2  # what is drawn so near is rounded to the limit
        start = (self.score(np.maximum(low, self.bounds[0]) - half) - mean) / sigma
        end = (self.score(np.minimum(high, self.bounds[1]) + half) - mean) / sigma
        start = np.where(self.heaps[0] & (low <= self.bounds[0]), -np.inf, start)
        end = np.where(self.heaps[1] & (high >= self.bounds[1]), np.inf, end)
        # above the mean the mass is counted from the other end, where it is exact
        flipped = start > 0
        start, end = np.where(flipped, -end, start), np.where(flipped, -start, end)
        uniforms = np.where(flipped, 1 - uniforms, uniforms)
        below, upto = _mass_below(start), _mass_below(np.maximum(start, end))
        scores = _quantiles(below + uniforms * (upto - below))
        scores = np.clip(scores, start, np.maximum(start, end))
        values = self.value(mean + sigma * np.where(flipped, -scores, scores))
        return self.rounded(values, low, high)


def _mass_below(scores: Doubles) -> Doubles:
    return 0.5 * np.asarray(_ERFC(-scores / math.sqrt(2)), np.float64)


def _quantiles(mass: Array) -> Doubles:
    inside = np.clip(mass.astype(np.float64, copy=False), _SMALLEST, 1 - 2.0**-53)
    return np.asarray(_QUANTILE(inside), np.float64)
