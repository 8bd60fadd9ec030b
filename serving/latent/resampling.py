"""Sampling importance resampling: from draws of a proposal to draws of what their weights stand for.

Weights are cut off at their mean times √samples. A Gaussian posterior against a learned prior has a few
weights that outweigh all others, and plain resampling takes their samples again and again; the bound is exact
in the limit.

Sources: Rubin 1988, "Using the SIR algorithm to simulate posterior distributions"; Ionides 2008, "Truncated
importance sampling"; for missing values in variational autoencoders Mattei & Frellsen 2019, "MIWAE",
arXiv:1812.02633.
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def resample(log_weights: Doubles, uniforms: Doubles) -> NDArray[np.intp]:
    """Which sample each draw takes, with probabilities in proportion to the truncated weights.

    Shapes: log weights [rows, samples] in nats, up to a constant of the row, and uniforms [rows, draws] in
    (0, 1) → indices [rows, draws]. A draw depends on its own row and uniform alone.
    """
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    weights = np.minimum(weights, weights.mean(axis=1, keepdims=True) * np.sqrt(log_weights.shape[1]))
    ends = np.cumsum(weights, axis=1)
    wanted = uniforms * ends[:, -1:]
    found = [np.searchsorted(row, some, side="right") for row, some in zip(ends, wanted, strict=True)]
    places: NDArray[np.intp] = np.minimum(np.stack(found), log_weights.shape[1] - 1)
    return places
