"""The groups of figures of images."""

from pathlib import Path

from training.data import Dataset
from training.evaluate.evaluated_model import EvaluatedModel
from training.evaluate.latents.probes import latents_group
from training.evaluate.out_of_distribution import foreign_group
from training.evaluate.samples.sample_quality import samples_group
from training.evaluate.tables import Group
from training.models import VAE


def applicable(model: VAE, dataset: Dataset) -> tuple[str, ...]:
    """Samples are judged by a classifier, which wants labels; latents want labels or a posterior."""
    labelled = dataset.train.labels is not None and len(dataset.label_names) > 1
    latents = labelled or (dataset.train.labels is None and model.kind != "ae")
    return (*(["samples"] if labelled else []), *(["latents"] if latents else []), "ood")


def measure(name: str, evaluated: EvaluatedModel, *, foreign: Path | None = None) -> Group:
    """A group of ``metrics.GROUPS``; ``foreign`` are further images for "ood".

    Raises:
        TrainingError: the data or the model have not what the group wants.
    """
    if name == "ood":
        return foreign_group(evaluated, foreign)
    return {"samples": samples_group, "latents": latents_group}[name](evaluated)
