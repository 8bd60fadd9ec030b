"""One Gaussian for each group of images, whether the groups are labels or were found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.bundle import PoolEntry, Pools
from training.data.label_names import AGGREGATE
from training.pools.moments import Doubles, Floats, cholesky, gaussian_of, within_class_covariance
from training.training_error import TrainingError

UNKNOWN = "unknown"
"""The pool of what belongs to no other; see ``training.pools.unknown_pool``."""

Fitted = tuple[tuple[PoolEntry, ...], Pools]
"""What a bundle says of its pools, entry by entry, and their tensors in the same order."""


def fit_pools(mean: Floats, labels: NDArray[np.int64] | None, label_names: Sequence[str]) -> Fitted:
    """One pool a label that has images, in the order of ``label_names``, then the pool of all images.

    Args:
        mean: [N, Z] posterior means of the training images.
        labels: [N] index into ``label_names``; None leaves the aggregate pool alone.

    Raises:
        TrainingError: fewer than 2 images, values that are not finite, or a label called "aggregate".
    """
    if AGGREGATE in label_names:
        raise TrainingError(f"label {AGGREGATE!r}: is the name of the pool of all data; rename the label")
    points = checked_points(mean)
    entries, fits = [], []
    if labels is not None:
        within = within_class_covariance(points, labels)
        for index, name in enumerate(label_names):
            members = points[labels == index]
            if len(members):
                entries.append(PoolEntry(name=name, rows=len(members), aggregate=False))
                fits.append(gaussian_of(members, within))
    entries.append(PoolEntry(name=AGGREGATE, rows=len(points), aggregate=True))
    fits.append(gaussian_of(points, np.diag(points.var(axis=0))))
    pools = Pools(
        weight=np.array([entry.rows / len(points) for entry in entries], np.float32),
        mean=np.stack([centre for centre, _ in fits]).astype(np.float32),
        cholesky=np.stack([cholesky(covariance) for _, covariance in fits]),
    )
    return tuple(entries), pools


def checked_points(mean: Floats) -> Doubles:
    """Raises TrainingError for fewer than 2 images, or values that are not finite."""
    if len(mean) < 2 or not np.isfinite(mean).all():
        raise TrainingError(f"pools: want at least 2 images with finite posterior means, came {len(mean)}")
    return mean.astype(np.float64)
