"""Kinds of data, a room for each: how they are read, split, modelled and shown.

Everybody else asks here, by the config or by the data it names, and never which kind it is. Another kind is a
room beside these and a line in ``MODALITIES``.
"""

from typing import TYPE_CHECKING

from training.config import FitConfig, flag
from training.modalities.image import IMAGE
from training.modalities.table import TABLE
from training.training_error import TrainingError

if TYPE_CHECKING:  # torch and the rest are imported when there is something to train
    from training.data import Dataset, Spec
    from training.modalities.training_modality import Modality
    from training.models import VAE

MODALITIES: "tuple[Modality, ...]" = (TABLE, IMAGE)
"""The first that takes the data has them; images say what is wrong with what nobody takes."""


def modality_of(config: FitConfig) -> "Modality":
    """Of the data that the config names."""
    return next((known for known in MODALITIES if known.takes(config.data)), IMAGE)


def load(config: FitConfig, *, labelled: bool = True) -> "Dataset":
    """The data set that the config names; see ``Modality.load``."""
    return modality_of(config).load(config, labelled=labelled)


def resolve(config: FitConfig, dataset: "Dataset", *, processes: int = 1) -> FitConfig:
    """The config as it will be run and saved: a preset below what was set explicitly, nothing "auto".

    Resolving a resolved config changes nothing. ``processes``: that share the training.

    Raises:
        TrainingError: the result contradicts itself.
    """
    modality = modality_of(config)
    for name in modality.refuses:
        if getattr(config, name) != FitConfig.model_fields[name].default:
            raise TrainingError(f"{flag(name)}: not for {modality.unit}, came --data {config.data}")
    return modality.resolve(config, dataset, processes=processes)


def describe_presets() -> str:
    """For ``--help``."""
    return "\n".join(known.describe_presets() for known in MODALITIES)


def build_model(config: FitConfig, spec: "Spec") -> "VAE":
    """A model with fresh weights, drawn from torch's global generator; ``config`` is resolved."""
    return modality_of(config).build_model(config, spec)
