"""Every option of a training: what to train, on what, and how."""

from training.config.data_options import LARGEST_COUNT, LARGEST_NUMBER, LARGEST_SIDE, NAMED_DATA, DataOptions
from training.config.fit_config import (
    MACHINE_FIELDS,
    MOST_THREADS,
    FitConfig,
    ModelOptions,
    TrainingOptions,
    flag,
)
from training.config.latent_shape import as_shape, latent_in_words

__all__ = [
    "LARGEST_COUNT",
    "LARGEST_NUMBER",
    "LARGEST_SIDE",
    "MACHINE_FIELDS",
    "MOST_THREADS",
    "NAMED_DATA",
    "DataOptions",
    "FitConfig",
    "ModelOptions",
    "TrainingOptions",
    "as_shape",
    "flag",
    "latent_in_words",
]
