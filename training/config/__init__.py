"""Every option of a training: what to train, on what, and how."""

from training.config.data_options import NAMED_DATA, DataOptions
from training.config.fit_config import MACHINE_FIELDS, FitConfig, ModelOptions, TrainingOptions, flag

__all__ = [
    "MACHINE_FIELDS",
    "NAMED_DATA",
    "DataOptions",
    "FitConfig",
    "ModelOptions",
    "TrainingOptions",
    "flag",
]
