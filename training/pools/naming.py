"""Names for pools that were found without labels, from a few labelled examples."""

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from training.data.label_names import AGGREGATE
from training.pools.kinds import FoundKinds
from training.pools.labelled import UNKNOWN, Fitted
from training.pools.moments import Floats
from training.pools.unknown_pool import pools_density
from training.training_error import TrainingError

LEAST_EXAMPLES = 0.5
"""A pool with fewer examples in it, by responsibility, keeps the name it has."""


def name_kinds(kinds: FoundKinds, fitted: Fitted, mean: Floats, labels: Sequence[str]) -> FoundKinds:
    """Each pool takes the label that most of its examples have.

    Args:
        kinds: what was found; earlier names are forgotten.
        fitted: one pool a kind, then the aggregate: see ``fit_pools``.
        mean: [n, Z] posterior means of the examples. An example counts for each pool as much as p(pool | z).
        labels: [n] of the examples.

    Raises:
        TrainingError: a label that is the name of a pool without a label.
    """
    refuse_reserved(labels)
    names, index = np.unique(np.asarray(labels), return_inverse=True)
    responsibilities = softmax(pools_density(*fitted, mean.astype(np.float64)), axis=1)
    votes = responsibilities.T @ np.eye(len(names))[index]
    named = []
    for kind, ballot in zip(kinds.kinds, votes, strict=True):
        examples, winner = float(ballot.sum()), int(ballot.argmax())
        known = examples >= LEAST_EXAMPLES
        update = {
            "label": str(names[winner]) if known else None,
            "examples": examples,
            "agreement": float(ballot[winner]) / examples if known else 0.0,
        }
        named.append(kind.model_copy(update=update))
    return kinds.model_copy(update={"kinds": tuple(named)})


def refuse_reserved(labels: Sequence[str]) -> None:
    """Raises TrainingError for a label that is the name of a pool without a label."""
    for label in labels:
        if label in (AGGREGATE, UNKNOWN) or label.startswith("pool-"):
            raise TrainingError(f"--names: label {label!r}: is the name of another pool; want another label")
