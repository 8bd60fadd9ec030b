"""Sampling importance resampling: from draws of a proposal to draws of what their weights stand for.

Source: Rubin 1988, "Using the SIR algorithm to simulate posterior distributions"; for missing values in
variational autoencoders Mattei & Frellsen 2019, "MIWAE", arXiv:1812.02633.
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def resample(log_weights: Doubles, uniforms: Doubles) -> NDArray[np.intp]:
    """Which sample each draw takes, with probabilities in proportion to the weights.

    Shapes: log weights [rows, samples] in nats, up to a constant of the row, and uniforms [rows, draws] in
    (0, 1) → indices [rows, draws]. A draw depends on its own row and uniform alone.
    """
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    ends = np.cumsum(weights, axis=1)
    wanted = uniforms * ends[:, -1:]
    found = [np.searchsorted(row, some, side="right") for row, some in zip(ends, wanted, strict=True)]
    places: NDArray[np.intp] = np.minimum(np.stack(found), log_weights.shape[1] - 1)
    return places
