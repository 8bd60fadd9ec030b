"""Kinds of data found without labels: a Gaussian mixture on posterior means, its size chosen by BIC.

N is the number of images, Z of latents, K of components, P of pools.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from training.pools.labelled import checked_points
from training.pools.moments import Doubles, Floats
from training.pools.overlap import merge
from training.training_error import TrainingError

Covariance = Literal["full", "tied", "diag"]

FIT_IMAGES: dict[Covariance, int] = {"full": 20_000, "tied": 10_000, "diag": 10_000}
"""EM sees at most this many images, at random; the BIC is that of all images."""
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of components that are tried."""
PATIENCE = 2
"""Sizes beyond the best one that are tried before a larger mixture is given up."""
IMAGES_PER_COMPONENT = 10
RESTARTS = 3
"""Fits of the chosen size from different starts: the best is taken, and how far they agree is told."""
SEARCH_ITERATIONS, FIT_ITERATIONS = 12, 25
INERT = 0.01
"""A latent whose posterior mean varies less than this share of the average variance is left out."""


@dataclass(frozen=True)
class Candidate:
    """One point of the BIC curve."""

    covariance: Covariance
    components: int
    bic: float
    """Bayesian information criterion in nats per image; smaller is better."""


@dataclass(frozen=True)
class Clustering:
    """Which images belong together."""

    assignment: NDArray[np.int64]
    """[N] pool of each image; the largest pool is 0."""
    covariance: Covariance
    components: int
    curve: tuple[Candidate, ...]
    stability: float
    """Mean adjusted Rand index between the pools of different starts: 1 is the same each time."""


def find_kinds(
    mean: Floats, *, count: int | None = None, seed: int = 0, curve: Sequence[Candidate] = ()
) -> Clustering:
    """Fit mixtures and say which images belong together.

    Args:
        mean: [N, Z] posterior means.
        count: pools wanted: components that overlap are merged into so many (see ``merge``); of the restarts
            the one is taken whose pools are cut apart at the least overlap. Left out, each component of the
            mixture with the best likelihood is a pool.
        curve: of an earlier search among the same means; left out, it is searched now.

    Raises:
        TrainingError: fewer images than pools wanted, or what ``checked_points`` refuses.
    """
    points = _scaled(checked_points(mean))
    if count is not None and not 1 <= count <= len(points) // IMAGES_PER_COMPONENT:
        most = len(points) // IMAGES_PER_COMPONENT
        raise TrainingError(
            f"--count {count}: want 1 to {most}, for {len(points)} images are {IMAGES_PER_COMPONENT} a pool"
        )
    curve = tuple(curve or _search(points, seed))
    best = min(curve, key=lambda candidate: candidate.bic)
    components = max(best.components, count or 1)
    restarts = [
        _pools_of(_fit(points, best.covariance, components, (seed, n), FIT_ITERATIONS), points, count)
        for n in range(RESTARTS if components > 1 else 1)
    ]
    assignments = [assignment for assignment, _ in restarts]
    pairs = [adjusted_rand_score(*pair) for pair in combinations(assignments, 2)]
    chosen = min(restarts, key=lambda restart: restart[1])[0]
    return Clustering(
        assignment=_by_size(chosen),
        covariance=best.covariance,
        components=components,
        curve=curve,
        stability=float(np.mean(pairs)) if pairs else 1.0,
    )


def _scaled(points: Doubles) -> Floats:
    """The latents that vary, of variance 1 on average; float32 halves the time and changes nothing here."""
    variances = points.var(axis=0)
    average = max(float(variances.mean()), 1e-30)
    varying = variances > INERT * average
    if not varying.any():
        return np.zeros((len(points), 1), np.float32)
    return np.asarray((points - points.mean(axis=0))[:, varying] / math.sqrt(average), np.float32)


def _search(points: Floats, seed: int) -> Iterator[Candidate]:
    """Each kind of covariance with more and more components, until that is no longer better."""
    most = max(1, min(SIZES[-1], len(points) // IMAGES_PER_COMPONENT))
    for covariance in FIT_IMAGES:
        tried: list[Candidate] = []
        for components in (size for size in SIZES if size <= most):
            mixture = _fit(points, covariance, components, (seed, 0), SEARCH_ITERATIONS)
            tried.append(Candidate(covariance, components, float(mixture.bic(points)) / (2 * len(points))))
            yield tried[-1]
            bics = [candidate.bic for candidate in tried]
            if len(bics) - 1 - int(np.argmin(bics)) >= PATIENCE:
                break


def _fit(
    points: Floats, covariance: Covariance, components: int, seed: tuple[int, int], iterations: int
) -> GaussianMixture:
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(points))[: FIT_IMAGES[covariance]]
    mixture = GaussianMixture(
        components,
        covariance_type=covariance,
        reg_covar=1e-3,
        tol=1e-2,
        max_iter=iterations,
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        # Out of iterations in the search is no harm; duplicates among few images leave k-means fewer centres.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(points[chosen])


def _pools_of(mixture: GaussianMixture, points: Floats, count: int | None) -> tuple[NDArray[np.int64], float]:
    """[N] pool of each image, and what is to be small: the cut between merged pools, else the NLL."""
    members = np.asarray(mixture.predict_proba(points), np.float64)
    if count is None:
        return members.argmax(axis=1), -float(mixture.score(points))
    groups, cut = merge(members, count)
    return (members @ np.eye(count)[groups]).argmax(axis=1), cut


def _by_size(assignment: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same groups, numbered from the largest without gaps."""
    used, rows = np.unique(assignment, return_inverse=True)
    order = np.argsort(-np.bincount(rows), kind="stable")
    rank = np.empty(len(used), np.int64)
    rank[order] = np.arange(len(used))
    return rank[rows]
