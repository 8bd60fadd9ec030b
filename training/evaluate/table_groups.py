"""The groups of figures of tables."""

from pathlib import Path
from typing import Any

from serving.bundle.tables import Cells
from training.data import Dataset
from training.evaluate.evaluated_model import EvaluatedModel, Use
from training.evaluate.tables import Group
from training.modalities.table.evaluation.record_quality import record_quality
from training.modalities.table.evaluation.taken import Samples
from training.modalities.table.table_samples import prior_records
from training.models import VAE
from training.training_error import TrainingError


def applicable(model: VAE, dataset: Dataset) -> tuple[str, ...]:
    """An autoencoder has no prior to draw records from."""
    return () if model.kind == "ae" else ("samples",)


def measure(name: str, evaluated: EvaluatedModel, *, foreign: Path | None = None) -> Group:
    """A group of ``metrics.GROUPS``.

    Raises:
        TrainingError: one that tables have not, or too few rows.
    """
    if name != "samples" or evaluated.model.kind == "ae":
        flag = "--ood" if name == "ood" else f"--{name}"
        raise TrainingError(f"{flag}: not for this model, want --samples of a vae or iwae of a table")
    schema: Any = evaluated.dataset.schema
    train: Cells = evaluated.dataset.train.cells
    drawn = prior_records(evaluated.model, schema, len(train), seed=evaluated.seed_for(Use.PRIOR))
    held_out: Cells = getattr(evaluated.dataset, evaluated.split).cells
    try:
        taken = record_quality(schema, Samples(train, held_out, drawn), seed=evaluated.seed)
    except ValueError as exc:
        raise TrainingError(f"--samples: {exc}") from None
    return Group(protocol={**evaluated.protocol, **taken.protocol}, tables=taken.tables)
