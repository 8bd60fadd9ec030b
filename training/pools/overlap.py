"""Merging the components of a mixture that overlap.

A kind of data is seldom one Gaussian: a mixture spends several components on it, which touch one another,
and touch other kinds less. N is the number of images, K of components, P of pools.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import SpectralClustering

from training.pools.moments import Doubles


def merge(members: Doubles, count: int) -> tuple[NDArray[np.int64], float]:
    """Group components so that they overlap within groups and little between them.

    The overlap of two components is how often an image could be of either, W = RᵀR; the groups are those
    of the least normalised cut of that graph, found by spectral clustering (Ng, Jordan & Weiss, 2002).

    Args:
        members: R [N, K] responsibilities, p(component | image).
        count: groups wanted, at most K.

    Returns:
        [K] group of each component, and the normalised cut: over the groups, the sum of the share of a
        group's overlap that is with other groups.
    """
    overlap = members.T @ members
    if count == members.shape[1]:
        groups = np.arange(count)
    elif count == 1:
        groups = np.zeros(members.shape[1], np.int64)
    else:
        # A component that shares no image with any other would make the graph fall apart.
        joined = overlap + 1e-9 * overlap.trace()
        clustering = SpectralClustering(count, affinity="precomputed", n_init=20, random_state=0)
        groups = clustering.fit_predict(joined)
    of_group = np.eye(count)[groups]
    between = of_group.T @ overlap @ of_group
    totals = np.maximum(between.sum(axis=1), 1e-300)
    return groups.astype(np.int64), float((1 - np.diagonal(between) / totals).sum())
