"""Scikit-learn's handwritten digits: 1,797 grey images of 8×8, inside the package."""

import numpy as np

from training.config import FitConfig
from training.data.dataset import Dataset
from training.modalities.image.data.splits import Arrays, split_by_seed

LARGEST = 16


def load(config: FitConfig) -> Dataset:
    """Values 0..16 spread over 0..255; no two fall together."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / LARGEST)).astype(np.uint8)[:, None]
    names = tuple(str(name) for name in bunch.target_names)
    return split_by_seed("digits", Arrays(images, bunch.target.astype(np.int64), names), config)
