"""Export the model of a run folder."""

from collections.abc import Sequence
from pathlib import Path

from serving.bundle import Bundle, Gate, Likelihood, Precision
from training.data import Dataset
from training.evaluate import Metrics, present_metrics
from training.export.gates import divergence_gate
from training.export.requirements import Requirement
from training.export.score import Score
from training.export.sealing import Facts, export_bundle, free_target
from training.models import VAE
from training.models.codec import ImageDecoder, ImageEncoder
from training.pools.run_pools import Source, latents_of_run
from training.report import report_files
from training.runs import LoadedRun, Run, load_run
from training.runs.training_log import read_rows


def export_run(
    path: Path,
    *,
    repository: Path,
    name: str,
    version: int | None = None,
    require: Sequence[str] = (),
    force: bool = False,
    pools: Source = "auto",
    precision: Precision = "float32",
) -> tuple[Bundle, Metrics]:
    """Seal the averaged weights of a run with its pools, metrics and report.

    A run without an evaluation of these weights is evaluated on at most 1,000 random test images first.
    For ``require``, ``force`` and ``precision`` see ``export_bundle``, for ``pools`` see ``latents_of_run``.

    Raises:
        TrainingError: see ``load_run`` and ``export_bundle``.
    """
    free_target(repository, name, version)  # a bad name is refused before any work is done
    for text in require:
        Requirement.parse(text)
    run, loaded = Run(path), load_run(path)
    dataset = loaded.dataset()
    metrics = present_metrics(run, loaded, dataset)
    encoder = ImageEncoder(loaded.model)
    latents = latents_of_run(path, encoder, dataset, step=metrics.protocol.step, source=pools)
    bundle = export_bundle(
        encoder,
        ImageDecoder(loaded.model),
        prior=loaded.model.prior if loaded.model.prior.name == "flow" else None,
        score=_score(loaded.model),
        repository=repository,
        name=name,
        version=version,
        images=dataset.train.images,
        labels=dataset.train.labels,
        label_names=dataset.label_names,
        facts=_facts(loaded, dataset, metrics, _training_gates(run, loaded)),
        latents=latents,
        report=report_files(run, loaded, dataset, latents, metrics),
        require=require,
        force=force,
        precision=precision,
    )
    return bundle, metrics


def _training_gates(run: Run, loaded: LoadedRun) -> tuple[Gate, ...]:
    gate = divergence_gate(read_rows(run.log_file), beta=loaded.config.beta)
    return () if gate is None else (gate,)


def _score(model: VAE) -> Score | None:
    """An autoencoder has no posterior, so no bound of the likelihood to score with."""
    return None if model.kind == "ae" else Score(model.encoder, model.decoder, model.likelihood, model.prior)


def _facts(loaded: LoadedRun, dataset: Dataset, metrics: Metrics, gates: tuple[Gate, ...]) -> Facts:
    config, model, known = loaded.config, loaded.model, loaded.model.likelihood
    likelihood = {"name": known.name, "sigma": known.sigma, "binarisation": config.binarisation}
    return Facts(
        kind=model.kind,
        likelihood=Likelihood.model_validate(likelihood),
        dataset=dataset.name,
        objective="distortion" if model.kind == "ae" else "elbo",
        dataset_sha256=dataset.sha256,
        beta=None if model.kind == "ae" else config.beta,
        seed=config.seed,
        steps=metrics.protocol.step,
        metrics=metrics.figures,
        gates=gates,
    )
