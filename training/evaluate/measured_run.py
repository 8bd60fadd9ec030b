"""A run with all that a report shows and a bundle says of it."""

from dataclasses import dataclass

from training.data import Dataset
from training.evaluate.metrics import Metrics
from training.evaluate.run_evaluation import present_metrics
from training.modalities import modality_of
from training.pools import Latents
from training.pools.run_pools import Source, latents_of_run
from training.runs import LoadedRun, Run


@dataclass(frozen=True)
class MeasuredRun:
    """A trained model with its data, its figures, and where the data lie in its latent space."""

    run: Run
    loaded: LoadedRun
    dataset: Dataset
    metrics: Metrics
    """Of the present weights."""
    latents: Latents
    """Of the training images, with the pools."""


def measured_run(run: Run, loaded: LoadedRun, *, pools: Source = "auto") -> MeasuredRun:
    """Load the data, encode them and fit the pools; for ``pools`` see ``latents_of_run``.

    A run without an evaluation of its present weights is evaluated on at most 1,000 random test images first.

    Raises:
        TrainingError: the data are no longer those of the run, or have no labels where they are asked for.
    """
    dataset = loaded.dataset()
    metrics = present_metrics(run, loaded, dataset)
    encoder = modality_of(loaded.config).encoder(loaded.model)
    latents = latents_of_run(run.path, encoder, dataset, step=metrics.protocol.step, source=pools)
    return MeasuredRun(run, loaded, dataset, metrics, latents)
