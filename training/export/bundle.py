"""Two networks and their data become a sealed bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import onnx
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import Tensor, nn

from serving.bundle import (
    Bundle,
    BundleError,
    Gate,
    Graph,
    ImageSpec,
    Likelihood,
    ManifestBody,
    Metric,
    TrainingSummary,
    seal,
    target_path,
)
from serving.bundle.manifest import Name
from training.data import to_unit
from training.errors import TrainingError
from training.evaluate import Figure
from training.export.gates import enforce, figures_of, finite_gate, parity_gate
from training.export.graphs import check_graph, evaluating, to_onnx
from training.export.parity import parity
from training.export.provenance import git_commit, versions
from training.pools import Latents, fit_latents

Graphs = dict[Literal["encoder", "decoder", "prior", "score"], Graph]

GOLDEN_ROWS = 8
PARITY_ROWS = 64
COLOURS: dict[int, Literal["grey", "rgb", "other"]] = {1: "grey", 3: "rgb"}


@dataclass(frozen=True)
class Facts:
    """What the networks themselves do not show; what is not known of the training stays None."""

    kind: str
    """"ae", "vae", "beta_vae" …"""
    likelihood: Likelihood
    dataset: str
    objective: str
    dataset_sha256: str | None = None
    beta: float | None = None
    seed: int | None = None
    steps: int | None = None
    metrics: Mapping[str, Figure] = field(default_factory=dict)


def export_bundle(  # noqa: PLR0913 (a bundle holds this much)
    encoder: nn.Module,
    decoder: nn.Module,
    *,
    repository: Path,
    name: str,
    version: int | None = None,
    images: Tensor,
    labels: Tensor | None = None,
    label_names: Sequence[str] = (),
    facts: Facts,
    latents: Latents | None = None,
    report: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Export, prove, seal and read back ``<repository>/<name>/<version>/``.

    Args:
        encoder: image [B, C, H, W] in [0, 1] → (mean, log_var), each [B, *latent_shape]; on the CPU.
        decoder: latent [B, *latent_shape] → image [B, C, H, W] in [0, 1], the mean of p(x|z); on the CPU.
        version: left out, the one after the highest that is there.
        images: [N, C, H, W] the training images, uint8 or float32 in [0, 1]: pools, parity, golden rows.
        labels: [N] int64 index into ``label_names``; left out, there is the aggregate pool alone.
        latents: ``fit_latents`` of the above, where it is at hand.
        report: file name to content, kept in the bundle under ``report/``.

    Raises:
        TrainingError: one line: a bad name, a version that exists, modules that do not fit together or
            cannot be exported, or a gate that failed. Nothing is left behind.
    """
    target = free_target(repository, name, version)
    with evaluating(encoder), evaluating(decoder):
        golden = _golden(encoder, decoder, images)
        latents = latents or fit_latents(encoder, images, labels, label_names)
        graphs, contents, parity_passed = _graphs(encoder, decoder, images)
    gates = (parity_passed, finite_gate(figures_of(facts.metrics)))
    enforce(gates)
    body = _manifest(target, facts, images, graphs, latents, gates)
    pictures = {f"report/{file}": content for file, content in (report or {}).items()}
    return _seal(target, body, {**contents, **_tensor_files(latents, golden), **pictures})


def free_target(repository: Path, name: str, version: int | None) -> Path:
    """Where the bundle will go. Raises TrainingError for a bad name or version, or one that exists."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError:
        want = "1 to 128 letters, digits, '_', '.' or '-', the first a letter or digit"
        raise TrainingError(f"--name {name!r}: want {want}") from None
    if version is not None and version < 1:
        raise TrainingError(f"--version {version}: want at least 1")
    if repository.exists() and not repository.is_dir():
        raise TrainingError(f"--repository {repository}: want a folder, came a file")
    target = target_path(repository, name, version)
    if target.exists():
        raise TrainingError(f"{target}: exists already; want a new --version, or none for the next one")
    return target


def _seal(target: Path, body: ManifestBody, files: Mapping[str, bytes]) -> Bundle:
    try:
        return seal(target, body, files)
    except BundleError as exc:
        raise TrainingError(str(exc)) from exc
    except OSError as exc:
        raise TrainingError(f"--repository: {target} cannot be written: {exc.strerror}") from exc


def _tensor_files(latents: Latents, golden: dict[str, Tensor]) -> dict[str, bytes]:
    return {
        "pools.safetensors": latents.pools.to_bytes(),
        "reference.safetensors": latents.reference.to_bytes(),
        "golden.safetensors": save(golden),
    }


@torch.inference_mode()
def _golden(encoder: nn.Module, decoder: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Real images and latents with what PyTorch makes of them; half the latents are posterior means."""
    image = sample_rows(images, GOLDEN_ROWS)
    mean, log_var = encoder(image)
    latent = _some_latents(mean)
    decoded = decoder(latent)
    if mean.shape != log_var.shape:
        raise TrainingError(
            f"encoder: want mean and log_var alike, came {_shape(mean)} and {_shape(log_var)}"
        )
    if decoded.shape[1:] != image.shape[1:]:
        raise TrainingError(f"decoder: want images of {_shape(image[0])}, came {_shape(decoded[0])}")
    rows = {"image": image, "mean": mean, "log_var": log_var, "latent": latent, "decoded": decoded}
    return {name: tensor.clone().contiguous() for name, tensor in rows.items()}


def _graphs(encoder: nn.Module, decoder: nn.Module, images: Tensor) -> tuple[Graphs, dict[str, bytes], Gate]:
    """The graphs of the manifest, their files by name, and the gate that they had to pass."""
    image = sample_rows(images, PARITY_ROWS)
    with torch.inference_mode():
        latent = _some_latents(encoder(image)[0])
    image_in, latent_in = {"image": image}, {"latent": latent.clone()}
    contents = {
        "encoder.onnx": to_onnx(encoder, image_in, ("mean", "log_var"), label="encoder"),
        "decoder.onnx": to_onnx(decoder, latent_in, ("image",), label="decoder"),
    }
    parities = {
        "encoder": parity(contents["encoder.onnx"], encoder, image_in),
        "decoder": parity(contents["decoder.onnx"], decoder, latent_in),
    }
    gate = parity_gate(parities)
    enforce([gate])  # an infinite difference has no place in a manifest
    graphs: Graphs = {
        "encoder": _entry("encoder", contents, parities, ("mean", "log_var"), "image"),
        "decoder": _entry("decoder", contents, parities, ("image",), "latent"),
    }
    return graphs, contents, gate


def _entry(
    role: str,
    contents: Mapping[str, bytes],
    parities: Mapping[str, dict[str, float]],
    outputs: Sequence[str],
    input_name: str,
) -> Graph:
    file = f"{role}.onnx"
    model = onnx.load_model_from_string(contents[file])
    return Graph(
        file=file,
        inputs={input_name: input_name},
        outputs={output: output for output in outputs},
        opset=check_graph(model, label=role),
        ir_version=model.ir_version,
        parity=parities[role],
    )


def _manifest(
    target: Path,
    facts: Facts,
    images: Tensor,
    graphs: Graphs,
    latents: Latents,
    gates: tuple[Gate, ...],
) -> ManifestBody:
    channels, height, width = images.shape[1:]
    colour = COLOURS.get(channels, "other")
    return ManifestBody(
        name=target.parent.name,
        version=int(target.name),
        created=datetime.now(UTC),
        kind=facts.kind,
        image=ImageSpec(shape=(channels, height, width), value_range=(0.0, 1.0), colour=colour),
        latent_shape=latents.shape,
        latent_scale=1.0,
        latent_shift=0.0,
        likelihood=facts.likelihood,
        prior="standard_normal",
        graphs=graphs,
        pools=latents.entries,
        training=_summary(facts, gates),
    )


def _summary(facts: Facts, gates: tuple[Gate, ...]) -> TrainingSummary:
    metrics = {n: Metric(value=f.value, standard_error=f.standard_error) for n, f in facts.metrics.items()}
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


def sample_rows(images: Tensor, count: int) -> Tensor:
    """At most ``count`` images, evenly spaced over all, at least two, as float32 in [0, 1]."""
    rows = torch.linspace(0, len(images) - 1, max(2, min(count, len(images)))).long()
    return to_unit(images[rows])


def _some_latents(mean: Tensor) -> Tensor:
    """Like ``mean`` [n, …]: its rows in turn with draws of N(0, I), since both will be decoded."""
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    return torch.stack([mean, noise], dim=1).flatten(0, 1)[: len(mean)]


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape))
