"""The scale of a column's numbers: from values to normal scores and back, and how a value is written.

A *score* is the normal score of a value's empirical quantile: piecewise linear in the value between knots,
continued beyond them with one slope. n is the number of rows.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.bundle.tables.cells import Doubles

Limits = tuple[Doubles, Doubles]
"""[n] each: between which values a row's value must lie."""

LARGEST_SCORE: Final = 1e4


@dataclass(frozen=True, eq=False)
class NormalScores:
    """What a column's schema says of its numbers, as arrays."""

    knots: Doubles
    """Raw values, strictly increasing."""
    scores: Doubles
    """Of the knots, strictly increasing."""
    width: float
    """Raw units for a unit of score, beyond the knots."""
    lattice: float | None
    """Distance of neighbouring values; None if values are continuous."""
    decimals: int | None
    """Of what is drawn; None if it is not rounded, or to the lattice alone."""
    bounds: tuple[float, float]
    """Of what is drawn."""

    def score(self, values: Doubles) -> Doubles:
        """Normal scores, at most ±1e4."""
        below, above = values - self.knots[0], values - self.knots[-1]
        inside = np.interp(values, self.knots, self.scores)
        beyond = np.where(below < 0, below, np.maximum(above, 0)) / self.width
        scores: Doubles = np.clip(inside + beyond, -LARGEST_SCORE, LARGEST_SCORE)
        return scores

    def value(self, scores: Doubles) -> Doubles:
        """The inverse of ``score``."""
        below, above = scores - self.scores[0], scores - self.scores[-1]
        beyond = np.where(below < 0, below, np.maximum(above, 0)) * self.width
        values: Doubles = np.interp(scores, self.scores, self.knots) + beyond
        return values

    def rounded(self, values: Doubles, low: Doubles | float, high: Doubles | float) -> Doubles:
        """As the data are written, inside the bounds and inside these limits, which lie on the grid."""
        if self.decimals is not None:
            values = np.round(values, self.decimals)
        elif self.lattice is not None:
            values = np.round(values / self.lattice) * self.lattice
        return np.clip(np.clip(values, *self.bounds), low, high) + 0.0  # no -0.0
