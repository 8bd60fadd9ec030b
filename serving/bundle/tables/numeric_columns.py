"""The density of a numeric column by bins: a histogram of its normal scores, with exponential tails.

K = B + 2 logits: B bins in the order of their values, then what lies below the lowest edge, then what lies
above the highest. Inside a bin the density is uniform by score; a number that the data have again and again
is a bin of its own, without a width. On a *lattice* (integers, times in whole seconds) every point of a bin
is as probable as the next, and log p is that of a probability. n is the number of rows; logits come as
[K, n], a bin after another, for whatever runs over the bins then runs over rows side by side.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.bundle.tables.cells import Doubles
from serving.bundle.tables.normal_scores import Limits, NormalScores

Array = NDArray[Any]
Indices = NDArray[np.intp]
Weights = NDArray[np.floating]

TAIL_RATE: Final = 1.0
"""A tail's log density falls by so much with each unit of score."""


@dataclass(frozen=True, eq=False)
class Histogram(NormalScores):
    """What is predicted of a number is which of these bins it is in."""

    edges: Doubles
    """[B + 1] strictly increasing."""
    least: Doubles
    """[B] of the values inside each bin."""
    most: Doubles

    @cached_property
    def bins(self) -> int:
        return len(self.least)

    def code(self, values: Doubles) -> Indices:
        """The index of the logit: 0 to B - 1 in a bin, B below the lowest edge, B + 1 above the highest."""
        codes = np.searchsorted(self.edges[1:-1], values, side="right")
        codes[values < self.edges[0]] = self.bins
        codes[values > self.edges[-1]] = self.bins + 1
        return codes

    @cached_property
    def _least_scores(self) -> Doubles:
        return self.score(self.least)

    @cached_property
    def _score_widths(self) -> Doubles:
        return self.score(self.most) - self._least_scores

    @cached_property
    def _first_points(self) -> Doubles:
        """[B] of each bin, counted in steps of the lattice from 0."""
        return np.ceil(self.least / (self.lattice or 1.0) - 1e-6)

    @cached_property
    def points(self) -> Doubles:
        """[B] how many points of the lattice each bin holds."""
        return np.floor(self.most / (self.lattice or 1.0) + 1e-6) - self._first_points + 1

    @cached_property
    def tail_scores(self) -> tuple[float, float]:
        """Of the lowest and the highest edge: where the tails begin."""
        low, high = self.score(self.edges[[0, -1]])
        return float(low), float(high)

    @cached_property
    def log_volumes(self) -> Doubles:
        """[K] what is taken from log p(bin) to give log p(value), in nats.

        log of the width in scores, or of the number of points of the lattice; 0 where there is one value.
        For the tails, see ``log_density``: on a lattice a tail is a geometric distribution.
        """
        if self.lattice is None:
            volumes = np.log(np.where(self._score_widths > 0, self._score_widths, 1.0))
            tail = -np.log(TAIL_RATE)
        else:
            volumes = np.log(self.points)
            step = TAIL_RATE * self.lattice / self.width  # its mass is 2 sinh(step / 2) times the density
            tail = -(step / 2 + np.log(-np.expm1(-step)))
        return np.append(volumes, [tail, tail])

    def log_density(self, logits: Doubles, values: Doubles) -> Doubles:
        """[n] log p of values [n] under logits [K, n], in nats.

        log p of its bin - ``log_volumes`` of it - TAIL_RATE · distance to ``tail_scores``, beyond them.
        """
        codes, scores = self.code(values), self.score(values)
        low, high = self.tail_scores
        beyond = np.where(codes == self.bins, low - scores, 0) + np.where(codes > self.bins, scores - high, 0)
        given = log_softmax(logits)[codes, np.arange(len(codes))]
        found: Doubles = given - self.log_volumes[codes] - TAIL_RATE * np.maximum(beyond, 0)
        return found

    def inside(self, codes: Indices, uniforms: Doubles) -> Doubles:
        """[n] the value at these places (0 to 1) of the bins and tails ``codes``, not yet rounded."""
        bins = np.minimum(codes, self.bins - 1)
        low, high = self.tail_scores
        uniforms = np.clip(uniforms.astype(np.float64, copy=False), 1e-300, 1 - 2.0**-53)
        scores = self._least_scores[bins] + uniforms * self._score_widths[bins]
        scores = np.where(codes == self.bins, low + np.log(uniforms) / TAIL_RATE, scores)
        scores = np.where(codes > self.bins, high - np.log1p(-uniforms) / TAIL_RATE, scores)
        values = self.value(scores)
        if self.lattice is None:
            drawn = np.where(self._score_widths > 0, np.nan, self.least)[bins]
            exact = (codes < self.bins) & ~np.isnan(drawn)
        else:
            points = self._first_points[bins] + np.floor(uniforms * self.points[bins])
            drawn, exact = points * self.lattice, codes < self.bins
        return np.where(exact, drawn, values)

    def drawn(
        self, logits: Array, uniforms: Array, temperature: float, limits: Limits | None = None
    ) -> Doubles:
        """[n] values for logits [K, n] and uniforms [n, 2] in (0, 1): which bin, and where in it.

        With limits, from the density cut off there; where no mass is left the limit itself is drawn, the
        lower one if there is one.
        """
        weights = weights_of(logits, temperature)
        if limits is None:
            values = self.inside(chosen(weights, uniforms[:, 0]), uniforms[:, 1])
            return self.rounded(values, -np.inf, np.inf)
        shares = self._shares(*limits)
        left = weights * (shares[1] - shares[0])
        return self._between(chosen(left, uniforms[:, 0]), uniforms[:, 1], shares, left.max(0) > 0, limits)

    def _shares(self, low: Doubles, high: Doubles) -> tuple[Doubles, Doubles]:
        """[K, n] where in each bin the limits lie, from 0 to 1: the parts of it below each."""
        half = (self.lattice or 0.0) / 2  # what is drawn so near is rounded to the limit
        start = np.concatenate([self._below(low, 0), self._tail_shares(low - half)])
        end = np.concatenate([self._below(high, 1), self._tail_shares(high + half)])
        return start, np.maximum(start, end)

    def _below(self, limits: Doubles, included: int) -> Doubles:
        """[B, n] the part of each bin below these limits, themselves included or not."""
        if self.lattice is None:
            widths = self._score_widths[:, None]
            parts = (self.score(limits) - self._least_scores[:, None]) / np.where(widths > 0, widths, 1.0)
            points = self.least[:, None]
            parts = np.where(widths > 0, parts, points <= limits if included else points < limits)
        else:
            steps = limits / self.lattice
            steps = np.floor(steps + 1e-6) + 1 if included else np.ceil(steps - 1e-6)
            parts = (steps - self._first_points[:, None]) / self.points[:, None]
        return np.clip(parts, 0, 1)

    def _tail_shares(self, limits: Doubles) -> Doubles:
        """[2, n] the mass of each tail up to these values."""
        scores, tails = self.score(limits), self.tail_scores
        below = np.exp(TAIL_RATE * np.minimum(scores - tails[0], 0))
        above = -np.expm1(-TAIL_RATE * np.maximum(scores - tails[1], 0))
        return np.stack([below, above])

    def median(self, logits: Array, limits: Limits | None = None) -> Doubles:
        """[n] of the density, cut off at the limits if there are any."""
        weights = weights_of(logits)
        order = np.concatenate([[self.bins], np.arange(self.bins), [self.bins + 1]])
        shares = None if limits is None else self._shares(*limits)
        left = weights if shares is None else weights * (shares[1] - shares[0])
        mass = summed(left[order])
        half = 0.5 * mass[-1]
        place = (mass > half).argmax(0)
        codes, rows = order[place], np.arange(left.shape[1])
        own = left[codes, rows]
        uniforms = np.clip((half - (mass[place, rows] - own)) / np.where(own > 0, own, 1.0), 0, 1)
        if shares is None or limits is None:
            return self.rounded(self.inside(codes, uniforms), -np.inf, np.inf)
        return self._between(codes, uniforms, shares, mass[-1] > 0, limits)

    def _between(
        self,
        codes: Indices,
        uniforms: Doubles,
        shares: tuple[Doubles, Doubles],
        possible: NDArray[np.bool_],
        limits: Limits,
    ) -> Doubles:
        start, end = (share[codes, np.arange(len(codes))] for share in shares)
        low, high = limits
        values = self.inside(codes, start + uniforms * (end - start))
        values = np.where(possible, values, np.where(np.isfinite(low), low, high))
        return self.rounded(values, low, high)


def log_softmax(logits: Doubles) -> Doubles:
    """[K, n] log probabilities."""
    falls = logits - logits.max(0)
    return np.asarray(falls - np.log(np.exp(falls).sum(0)))


def weights_of(logits: Array, temperature: float = 1.0) -> Weights:
    """[K, n] probabilities, not normalised. In float32, which is as exact as the logits are, and much faster.

    None is 0, so that something is left wherever a density is cut off.
    """
    falls = logits - logits.max(0)
    if temperature != 1:
        falls = falls / np.float64(temperature)
    falls = np.maximum(falls, -80.0).astype(np.float32, copy=False)
    return np.asarray(np.exp(falls, out=falls))


def chosen(weights: Weights, uniforms: Doubles) -> Indices:
    """[n] an index for each row, drawn in proportion to weights [K, n] ≥ 0."""
    mass = summed(weights)
    total = mass[-1]
    # a uniform next to 1 rounds to the whole mass, which may end in bins of weight 0
    wanted = np.minimum((uniforms * total).astype(mass.dtype), np.nextafter(total, np.zeros_like(total)))
    return np.asarray((mass > wanted).argmax(0), np.intp)


def summed(weights: Weights) -> Weights:
    """[K, n] running sums. numpy's own take the rows one by one here: two times as long."""
    mass = weights.copy()
    for place in range(1, len(mass)):
        mass[place] += mass[place - 1]
    return mass
