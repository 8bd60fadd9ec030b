"""Ways between points of latent space."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]

_NEARLY_PARALLEL = 1e-6
"""Sine of the angle below which turning is dividing by nothing; the straight line is the same there."""


def walk(points: Rows, steps: int, *, spherical: bool) -> Rows:
    """From each point to the next: [P, *latent_shape] → [(P - 1)·steps + 1, *latent_shape].

    Every point is met exactly. Spherical: Shoemake 1985, "Animating rotation with quaternion curves",
    on the directions, with the norm interpolated linearly.
    """
    flat = points.reshape(len(points), -1).astype(np.float64)
    t = np.arange(steps)[:, None] / steps
    between = _spherical if spherical else _linear
    legs = [between(start, end, t) for start, end in pairwise(flat)]
    whole = np.concatenate([*legs, flat[-1:]])
    return whole.astype(np.float32).reshape(-1, *points.shape[1:])


def _linear(start: Doubles, end: Doubles, t: Doubles) -> Doubles:
    return start + t * (end - start)


def _spherical(start: Doubles, end: Doubles, t: Doubles) -> Doubles:
    norms = np.linalg.norm(start), np.linalg.norm(end)
    if min(norms) == 0.0:
        return _linear(start, end, t)
    one, other = start / norms[0], end / norms[1]
    angle = np.arccos(np.clip(one @ other, -1.0, 1.0))
    if np.sin(angle) < _NEARLY_PARALLEL:
        return _linear(start, end, t)
    direction = (np.sin((1.0 - t) * angle) * one + np.sin(t * angle) * other) / np.sin(angle)
    return np.asarray(direction * (norms[0] + t * (norms[1] - norms[0])))
