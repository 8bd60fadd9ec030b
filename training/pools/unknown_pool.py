"""The pool of what belongs to no other.

It is one more Gaussian, broad, around all the data, so the form of a bundle stays as it is and every server
reads it: p(unknown | z) comes out of Bayes' rule beside the others. Z is the number of latents, N of images.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from serving.bundle import PoolEntry, Pools
from training.pools.labelled import UNKNOWN, Fitted
from training.pools.moments import Doubles, Floats, log_density

INFLATION = 2.0
"""Standard deviations of the unknown pool, in those of the aggregate."""
OUTSIDE = 0.01
"""Of every pool at most this share of the training images is called unknown."""
LEAST_ROWS = 10
"""A pool of fewer images says nothing of its own edge."""


def with_unknown(fitted: Fitted, mean: Floats, assignment: NDArray[np.int64]) -> Fitted:
    """The pools and, before the aggregate, "unknown".

    Its weight is such that p(unknown | z) > ½ begins where the density of the pools, against that of the
    broad Gaussian, is below the ``OUTSIDE`` quantile of the images of every pool.

    Args:
        fitted: pools of ``fit_pools``, the aggregate last.
        mean: [N, Z] posterior means of the training images.
        assignment: [N] pool of each image, index into ``fitted``.
    """
    entries, pools = fitted
    points = mean.astype(np.float64)
    kinds = pools_density(entries, pools, points)
    lower = pools.cholesky[-1] * np.float32(INFLATION)
    broad = log_density(points, pools.mean[-1].astype(np.float64), lower.astype(np.float64))
    ratio = logsumexp(kinds, axis=1) - broad
    edges = [
        np.quantile(ratio[members], OUTSIDE)
        for members in (assignment == index for index in range(len(entries) - 1))
        if members.sum() >= LEAST_ROWS
    ]
    log_weight = min(edges, default=float(ratio.min()))
    limits = np.finfo(np.float32)
    weight = np.exp(np.clip(log_weight, np.log(limits.tiny), 0.0))
    entry = PoolEntry(name=UNKNOWN, rows=0, aggregate=False)
    grown = Pools(
        weight=np.insert(pools.weight, -1, np.float32(weight)),
        mean=np.insert(pools.mean, -1, pools.mean[-1], axis=0),
        cholesky=np.insert(pools.cholesky, -1, lower, axis=0),
    )
    return (*entries[:-1], entry, entries[-1]), grown


def pools_density(entries: tuple[PoolEntry, ...], pools: Pools, points: Doubles) -> Doubles:
    """log(weight) + log N(z; pool) of every pool that is no aggregate: [N, Z] → [N, kinds], nats."""
    return np.stack(
        [
            np.log(max(float(pools.weight[i]), 1e-300))
            + log_density(points, pools.mean[i].astype(np.float64), pools.cholesky[i].astype(np.float64))
            for i, entry in enumerate(entries)
            if not entry.aggregate
        ],
        axis=1,
    )
