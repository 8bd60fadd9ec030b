"""Export the model of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.bundle import Bundle, Likelihood, Precision
from training.evaluate.measured_run import MeasuredRun
from training.export.gates import divergence_gate
from training.export.requirements import Requirement
from training.export.sealing import Facts, export_bundle, free_target
from training.fit.losses import objective_in_words
from training.modalities import modality_of
from training.runs.training_log import read_rows


def check_request(repository: Path, name: str, version: int | None, require: Sequence[str]) -> None:
    """What can be refused before any work is done: see ``free_target`` and ``Requirement.parse``."""
    free_target(repository, name, version)
    for text in require:
        Requirement.parse(text)


def export_run(  # noqa: PLR0913 (all but two are options of one export, by keyword)
    measured: MeasuredRun,
    *,
    repository: Path,
    name: str,
    version: int | None = None,
    report: Mapping[str, bytes] | None = None,
    require: Sequence[str] = (),
    force: bool = False,
    precision: Precision = "float32",
    projection: bool = True,
) -> Bundle:
    """Seal the averaged weights of a run with its pools, metrics and report; see ``export_bundle``."""
    model, dataset = measured.loaded.model, measured.dataset
    modality = modality_of(measured.loaded.config)
    return export_bundle(
        modality.encoder(model),
        modality.decoder(model),
        prior=model.prior if model.prior.name == "flow" else None,
        score=None if model.kind == "ae" else modality.score(model),  # which has no posterior to score by
        repository=repository,
        name=name,
        version=version,
        images=dataset.train.images,
        held_out=dataset.val,
        labels=dataset.train.labels,
        label_names=dataset.label_names,
        facts=_facts(measured),
        latents=measured.latents,
        report=report,
        require=require,
        force=force,
        precision=precision,
        projection=projection,
        form=modality.form(dataset.spec),
    )


def _facts(measured: MeasuredRun) -> Facts:
    config, model, dataset = measured.loaded.config, measured.loaded.model, measured.dataset
    known, metrics = model.likelihood, measured.metrics
    divergence = divergence_gate(read_rows(measured.run.log_file), beta=config.beta)
    likelihood = {"name": known.name, "sigma": known.sigma, "binarisation": config.binarisation}
    return Facts(
        kind=model.kind,
        likelihood=Likelihood.model_validate(likelihood),
        dataset=dataset.name,
        objective=objective_in_words(config),
        dataset_sha256=dataset.sha256,
        beta=None if model.kind == "ae" else config.beta,
        seed=config.seed,
        steps=metrics.protocol.step,
        metrics=metrics.figures,
        gates=() if divergence is None else (divergence,),
    )
