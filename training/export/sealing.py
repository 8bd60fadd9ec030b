"""The networks of a model and their data become a sealed bundle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from serving.bundle import (
    MOST_POOLS,
    PROJECTION,
    Bundle,
    BundleError,
    Gate,
    Graph,
    Likelihood,
    ManifestBody,
    Metric,
    Precision,
    Projection,
    TrainingSummary,
    seal,
    target_path,
)
from serving.bundle.manifest import Name
from training.config import LARGEST_COUNT
from training.data import Split
from training.evaluate import Figure
from training.evaluate.latents.held_out_map import held_out_map
from training.export.adapters import DecoderAdapter, EncoderAdapter, check_given, check_held_out
from training.export.gates import Admission, collapse_gate, figures_of, finite_gate
from training.export.held_out_scores import held_out_scores
from training.export.networks import Exported, Networks, Role, golden
from training.export.precision import graphs_of
from training.export.provenance import git_commit, versions
from training.export.requirements import Requirement
from training.modalities.data_form import DataForm
from training.modalities.image.image_form import IMAGES
from training.pools import Latents, fit_latents
from training.training_error import TrainingError

GAUSSIAN = Likelihood(name="gaussian", sigma=None, binarisation="none")


@dataclass(frozen=True)
class Facts:
    """What the networks themselves do not show; what is not known of the training stays None."""

    kind: str = "vae"
    """"ae", "vae", "beta_vae" …"""
    likelihood: Likelihood = GAUSSIAN
    dataset: str = "unknown"
    objective: str = "unknown"
    dataset_sha256: str | None = None
    beta: float | None = None
    seed: int | None = None
    steps: int | None = None
    metrics: Mapping[str, Figure] = field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    """Already evaluated; they are decided on with those of the export."""


UNKNOWN = Facts()


def export_bundle(  # noqa: PLR0913 (a bundle holds this much)
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    prior: nn.Module | None = None,
    score: nn.Module | None = None,
    repository: Path | str,
    name: str,
    version: int | None = None,
    images: Tensor,
    held_out: Tensor | Split | None = None,
    labels: Tensor | None = None,
    label_names: Sequence[str] = (),
    facts: Facts = UNKNOWN,
    latents: Latents | None = None,
    report: Mapping[str, bytes] | None = None,
    require: Sequence[str] = (),
    force: bool = False,
    precision: Precision = "float32",
    projection: bool = True,
    form: DataForm = IMAGES,
) -> Bundle:
    """Export, prove, seal and read back ``<repository>/<name>/<version>/``, by default the next version.

    Args:
        encoder: image [B, C, H, W] in [0, 1] → (mean, log_var), each [B, *latent_shape]; on the CPU.
        decoder: latent [B, *latent_shape] → image [B, C, H, W] in [0, 1], the mean of p(x|z); on the CPU.
        prior: of a learned prior, noise [B, *latent_shape] ~ N(0, I) → latent; left out, it is N(0, I).
        score: (image, noise [B, k, *latent_shape]) → nats; ``training.export.Score`` is one.
        images: [N, C, H, W] the training images, uint8 or float32 in [0, 1]; statistics are of them.
        held_out: [M, C, H, W] others, not trained on, or a Split: score quantiles and map are of 20 or more.
        labels: [N] int64 index into ``label_names``; left out, a mixture looks for kinds (``find_kinds``).
        latents, report: ``fit_latents`` of these, if at hand; file name to content, kept under ``report/``.
        require, force: gates on ``facts.metrics``, see ``Requirement``; seal though one fails, and record it.
        precision: of the decoder; less than float32 has to pass a gate on the −ELBO that it costs.
        projection, form: whether to tell where held-out images lie; what the data are, if no images.

    Raises:
        TrainingError: a bad name or version, modules that do not fit, a failed gate; nothing is left behind.
    """
    target, admission = free_target(Path(repository), name, version), Admission(force=force)
    networks = _networks(images, held_out, form, encoder=encoder, decoder=decoder, prior=prior, score=score)
    with networks.evaluating():
        rows = golden(networks, images)
        latents = _sealable(latents or fit_latents(networks.encoder, images, labels, label_names))
        admission.decide(*_gates(facts, latents, require))  # before the work of exporting
        exported, rows = graphs_of(networks, images, rows, facts.likelihood, precision, admission)
        latents, drawn = _with_held_out(networks, held_out, label_names, latents, projection=projection)
    manifest = _manifest(target, facts, form.manifest(images), exported.graphs, latents, admission.decide())
    return seal_bundle(target, manifest, _files(exported, form, latents, rows, drawn, report or {}))


def _networks(
    images: Tensor,
    held_out: Tensor | Split | None,
    form: DataForm,
    *,
    encoder: nn.Module,
    decoder: nn.Module,
    prior: nn.Module | None,
    score: nn.Module | None,
) -> Networks:
    check_held_out(held_out.images if isinstance(held_out, Split) else held_out, images, form)
    check_given(images, form=form, encoder=encoder, decoder=decoder, prior=prior, score=score)
    return Networks(EncoderAdapter(encoder), DecoderAdapter(decoder), prior, score, form)


def _sealable(latents: Latents) -> Latents:
    """Raises TrainingError for more pools than a bundle may have."""
    if len(latents.entries) > MOST_POOLS:
        raise TrainingError(
            f"--pools: want at most {MOST_POOLS} pools, the one of all the data included, came "
            f"{len(latents.entries)}; want --pools mixture or aggregate"
        )
    return latents


def _gates(facts: Facts, latents: Latents, require: Sequence[str]) -> list[Gate]:
    """What the model has to pass beside parity; an autoencoder has no posterior that could collapse."""
    collapse = [] if facts.kind == "ae" else [collapse_gate(latents.posterior)]
    required = [Requirement.parse(text).gate(facts.metrics) for text in require]
    return [finite_gate(figures_of(facts.metrics)), *collapse, *facts.gates, *required]


def free_target(repository: Path, name: str, version: int | None) -> Path:
    """Where the bundle will go. Raises TrainingError for a bad name or version, or one that exists."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        want = "1 to 128 letters, digits, '_', '.' or '-', the first a letter or digit"
        raise TrainingError(f"--name {name!r}: want {want}") from None
    if version is not None and not 1 <= version <= LARGEST_COUNT:
        raise TrainingError(f"--version {version}: want 1 to {LARGEST_COUNT}")
    try:
        if repository.exists() and not repository.is_dir():
            raise TrainingError(f"--repository {repository}: want a folder, came a file")
        target = target_path(repository, name, version)
        is_taken = target.exists()
    except OSError as exc:  # a name too long for a file, a folder that may not be read
        raise TrainingError(f"--repository {repository}: cannot be read: {exc.strerror}") from None
    if int(target.name) > LARGEST_COUNT:
        raise TrainingError(f"{target.parent}: has the highest version there is; want --version, a lower one")
    if is_taken:
        raise TrainingError(f"{target}: exists already; want a new --version, or none for the next one")
    return target


def seal_bundle(target: Path, body: ManifestBody, files: Mapping[str, bytes]) -> Bundle:
    try:
        return seal(target, body, files)
    except BundleError as exc:
        raise TrainingError(str(exc)) from exc
    except OSError as exc:
        raise TrainingError(f"--repository: {target} cannot be written: {exc.strerror}") from exc


def _with_held_out(
    networks: Networks,
    held_out: Tensor | Split | None,
    label_names: Sequence[str],
    latents: Latents,
    *,
    projection: bool,
) -> tuple[Latents, Projection | None]:
    """What images say that were not trained on: the score's quantiles, and the map if it is wanted."""
    known = held_out if isinstance(held_out, Split) or held_out is None else Split(held_out, None)
    scores = None
    if networks.score is not None:
        images = None if known is None else known.images
        scores = held_out_scores(networks.score, images, latents.shape)
        quantiles = None if scores is None else scores.quantiles
        latents = replace(latents, reference=replace(latents.reference, score_quantiles=quantiles))
    if known is None or not projection:
        return latents, None
    scored = None if scores is None else (scores.rows, scores.places)
    return latents, held_out_map(networks.encoder, known, label_names, latents, scored=scored)


def _files(
    exported: Exported,
    form: DataForm,
    latents: Latents,
    golden_rows: dict[str, Tensor],
    drawn: Projection | None,
    report: Mapping[str, bytes],
) -> dict[str, bytes]:
    files = {
        **exported.contents,
        **form.files(),
        "pools.safetensors": latents.pools.to_bytes(),
        "reference.safetensors": latents.reference.to_bytes(),
        "golden.safetensors": save(golden_rows),
    }
    if drawn is not None:
        files[PROJECTION] = drawn.to_bytes()
    return files | {f"report/{file}": content for file, content in report.items()}


def _manifest(
    target: Path,
    facts: Facts,
    data: Mapping[str, Any],
    graphs: dict[Role, Graph],
    latents: Latents,
    gates: tuple[Gate, ...],
) -> ManifestBody:
    return ManifestBody(
        **data,
        name=target.parent.name,
        version=int(target.name),
        created=datetime.now(UTC),
        kind=facts.kind,
        latent_shape=latents.shape,
        latent_scale=1.0,
        latent_shift=0.0,
        likelihood=facts.likelihood,
        prior="flow" if "prior" in graphs else "standard_normal",
        graphs=graphs,
        pools=latents.entries,
        training=_summary(facts, gates),
    )


def _summary(facts: Facts, gates: tuple[Gate, ...]) -> TrainingSummary:
    metrics = {  # one that is not finite has no place in a manifest; the gate that was forced names it
        name: Metric(value=figure.value, standard_error=figure.standard_error)
        for name, figure in facts.metrics.items()
        if all(math.isfinite(number) for number in figures_of({name: figure}).values())
    }
    return TrainingSummary(
        dataset=facts.dataset,
        dataset_sha256=facts.dataset_sha256,
        objective=facts.objective,
        beta=facts.beta,
        seed=facts.seed,
        steps=facts.steps,
        git_commit=git_commit(),
        versions=versions(),
        metrics=metrics,
        gates=gates,
    )
