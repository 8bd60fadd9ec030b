"""The groups of figures beside the likelihood, by name, and who measures them for which kind of data."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from training.data import Dataset
from training.evaluate import image_groups, table_groups
from training.evaluate.evaluated_model import MAX_IMAGES, EvaluatedModel
from training.evaluate.tables import Group
from training.modalities import modality_of
from training.models import VAE
from training.runs import LoadedRun


class Measure(Protocol):
    def __call__(self, name: str, evaluated: EvaluatedModel, *, foreign: Path | None = None) -> Group: ...


class _Groups(NamedTuple):
    applicable: Callable[[VAE, Dataset], tuple[str, ...]]
    """Those that fit the model and the data."""
    measure: Measure


OF_MODALITY = {
    "image": _Groups(image_groups.applicable, image_groups.measure),
    "table": _Groups(table_groups.applicable, table_groups.measure),
}


def evaluated_model(
    loaded: LoadedRun, dataset: Dataset, *, split: str, step: int, seed: int, limit: int | None
) -> EvaluatedModel:
    """What the groups of a run are about; ``limit`` bounds the held-out images and the samples."""
    return EvaluatedModel(
        model=loaded.model,
        dataset=dataset,
        split="val" if split == "val" else "test",
        binary=loaded.config.binarisation == "dynamic",
        step=step,
        seed=seed,
        limit=min(limit or MAX_IMAGES, MAX_IMAGES),
    )


def applicable(loaded: LoadedRun, dataset: Dataset) -> tuple[str, ...]:
    """Those that fit the model and the data."""
    return OF_MODALITY[modality_of(loaded.config).name].applicable(loaded.model, dataset)


def measure(name: str, loaded: LoadedRun, evaluated: EvaluatedModel, *, foreign: Path | None = None) -> Group:
    """A group of ``metrics.GROUPS``; ``foreign`` are further data for "ood".

    Raises:
        TrainingError: the data or the model have not what the group wants.
    """
    return OF_MODALITY[modality_of(loaded.config).name].measure(name, evaluated, foreign=foreign)
