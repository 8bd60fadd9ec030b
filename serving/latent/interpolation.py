"""Ways between points of latent space."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]

_NEARLY_PARALLEL = 1e-6
"""Sine of the angle below which two directions are one, or opposite."""


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
    across = other - (one @ other) * one
    size = np.linalg.norm(across)
    angle = np.arctan2(size, one @ other)
    if size < _NEARLY_PARALLEL:
        if one @ other > 0 or len(one) == 1:
            return _linear(start, end, t)
        across, size = _some_perpendicular(one), np.float64(1.0)
    direction = np.cos(t * angle) * one + np.sin(t * angle) * (across / size)
    return np.asarray(direction * (norms[0] + t * (norms[1] - norms[0])))


def _some_perpendicular(direction: Doubles) -> Doubles:
    """Between opposite points every way round is as short; this one is the same each time."""
    axis = np.zeros_like(direction)
    axis[np.argmin(np.abs(direction))] = 1.0
    across = axis - (axis @ direction) * direction
    return np.asarray(across / np.linalg.norm(across))
