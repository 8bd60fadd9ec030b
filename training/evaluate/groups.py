"""The groups of figures beside the likelihood, by name."""

from pathlib import Path

from training.data import Dataset
from training.evaluate.evaluated_model import MAX_IMAGES, EvaluatedModel
from training.evaluate.latents.probes import latents_group
from training.evaluate.out_of_distribution import foreign_group
from training.evaluate.samples.sample_quality import samples_group
from training.evaluate.tables import Group
from training.models import VAE
from training.runs import LoadedRun


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
