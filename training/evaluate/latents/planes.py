"""Ways from the latent space into the plane. N is the number of points, Z of latents.

A plane through the latent space keeps Gaussians ellipses, which is what a picture of pools wants. A map of
which any place can be decoded wants neighbours that are neighbours: t-SNE (docs/decisions/explorer.md).
"""

import numpy as np
from numpy.typing import NDArray

from training.pools import UNKNOWN, Latents

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

PERPLEXITY = 30.0
"""Neighbours of a point that t-SNE looks at, in effect."""
STEPS = 500
_START = 1e-4
"""Standard deviation of the points that t-SNE begins with."""


def principal_directions(points: Doubles) -> Doubles:
    """[Z, 2], Z at least 2: the orthonormal directions in which points [N, Z] vary most."""
    if len(points) >= points.shape[1]:
        _, directions = np.linalg.eigh(np.cov(points, rowvar=False))
        return np.asarray(directions[:, :-3:-1])
    _, _, rows = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    return np.asarray(rows[:2].T)


def plane_of_pools(points: Doubles, latents: Latents) -> tuple[Doubles, Doubles, str]:
    """Origin [Z], two orthonormal directions [Z, 2] and what to call them.

    From three labels on they are the principal directions of the pool centres, in which the pools are
    farthest apart; else those of the posterior means ``points`` [N, Z]. Being orthonormal they leave N(0, I)
    a circle.
    """
    if points.shape[1] == 2:
        return np.zeros(2), np.eye(2), "latent"
    kinds = [i for i, e in enumerate(latents.entries) if not e.aggregate and e.name != UNKNOWN]
    spread, name = points, "principal direction of the posterior means"
    if len(kinds) > 2:
        spread, name = latents.pools.mean[kinds].astype(np.float64), "principal direction of the pool centres"
    return points.mean(axis=0), principal_directions(spread), name


def mapped(points: Floats) -> Floats:
    """[N, Z] → [N, 2], the same whenever it is done.

    One or two latents are a plane already. More go by t-SNE (van der Maaten & Hinton 2008), which begins with
    their principal plane (Kobak & Linderman 2021) and draws nothing at random. Points that are all alike stay
    in that plane, where there is no neighbourhood to keep.
    """
    if points.shape[1] <= 2:
        return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    centred /= centred.std() or 1.0  # neighbours are the same on any scale, float32 has bounds
    plane = centred @ principal_directions(centred)
    deviation = float(plane[:, 0].std())
    found = _t_sne(centred, plane / deviation * _START) if deviation > 0 else plane
    return (found if np.isfinite(found).all() else plane).astype(np.float32)


def _t_sne(points: Doubles, start: Doubles) -> Doubles:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    steps = "max_iter" if "max_iter" in TSNE().get_params() else "n_iter"  # its name before scikit-learn 1.5
    method = TSNE(
        perplexity=min(PERPLEXITY, (len(points) - 1) / 3),
        init=start.astype(np.float32),
        random_state=0,
        **{steps: STEPS},
    )
    with threadpool_limits(1):  # several add in any order, and beside other programs wait for one another
        return np.asarray(method.fit_transform(points.astype(np.float32)), np.float64)
