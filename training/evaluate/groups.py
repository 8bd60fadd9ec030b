"""The groups of figures beside the likelihood, by name."""

from pathlib import Path

from training.data import Dataset
from training.evaluate.foreign import foreign_group
from training.evaluate.latents import latents_group
from training.evaluate.samples import samples_group
from training.evaluate.subject import MAX_IMAGES, Subject
from training.evaluate.tables import Group
from training.models import VAE
from training.runs import LoadedRun


def subject_of(
    loaded: LoadedRun, dataset: Dataset, *, split: str, step: int, seed: int, limit: int | None
) -> Subject:
    """What the groups of a run are about; ``limit`` bounds the held-out images and the samples."""
    return Subject(
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


def measure(name: str, subject: Subject, *, foreign: Path | None = None) -> Group:
    """A group of ``metrics.GROUPS``; ``foreign`` are further images for "ood".

    Raises:
        TrainingError: the data or the model have not what the group wants.
    """
    if name == "ood":
        return foreign_group(subject, foreign)
    return {"samples": samples_group, "latents": latents_group}[name](subject)
