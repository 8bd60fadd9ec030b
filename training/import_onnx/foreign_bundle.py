"""Two foreign ONNX files, and images if there are any, become a sealed bundle."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from safetensors.numpy import save

from serving.bundle import (
    Bundle,
    Gate,
    Graph,
    ImageSpec,
    Likelihood,
    ManifestBody,
    PoolEntry,
    TrainingSummary,
)
from training.data import Dataset
from training.export.gates import Admission
from training.export.graphs import check_graph
from training.export.networks import GOLDEN_ROWS, sample_rows
from training.export.provenance import versions
from training.export.sealing import free_target, seal_bundle
from training.import_onnx.doubts import doubt_decoder, doubt_encoder
from training.import_onnx.equivalence import BATCHES, Compute, Rows, difference, equivalence_gate, runner
from training.import_onnx.foreign_file import read_model, reduce_to
from training.import_onnx.foreign_latents import fit_foreign_latents
from training.import_onnx.foreign_model import ForeignModel
from training.import_onnx.graph_wrapping import wrapped_decoder, wrapped_encoder
from training.import_onnx.pairing import Pairing, decoder_output, encoder_outputs, pair, shown
from training.modalities.image.image_form import COLOURS
from training.models.posterior_head import LOG_VAR_RANGE
from training.training_error import TrainingError


@dataclass(frozen=True)
class _Imported:
    """Both graphs in form, proved."""

    pairing: Pairing
    contents: dict[str, bytes]
    """Role → ONNX file."""
    golden: dict[str, Rows]
    gate: Gate
    producers: dict[str, str]
    """What wrote the foreign files, with its version."""


def import_onnx(
    foreign: ForeignModel,
    *,
    repository: Path,
    name: str,
    version: int | None = None,
    dataset: Dataset | None = None,
    projection: bool = True,
) -> Bundle:
    """Bring into form, prove, seal and read back ``<repository>/<name>/<version>/``.

    Args:
        version: left out, the one after the highest that is there.
        dataset: images of the kind that the model was trained on: pools, reference statistics and golden
            rows are made of all its splits, and a map of the latent space; left out, there are no pools and
            the golden rows are noise.
        projection: whether to tell where the images lie: see ``training.evaluate.latents.held_out_map``.

    Raises:
        TrainingError: one line that names the graph or option, what was wanted and what came. Nothing is
            left behind.
    """
    foreign.check()
    target = free_target(repository, name, version)
    imported = _imported(foreign, dataset)
    gates = Admission().decide(imported.gate)
    files = {f"{role}.onnx": content for role, content in imported.contents.items()}
    files["golden.safetensors"] = save(imported.golden)
    pools: tuple[PoolEntry, ...] = ()
    if dataset is not None:
        encode = runner(imported.contents["encoder"], "encoder")
        pools, tensors = fit_foreign_latents(encode, dataset, foreign, projection=projection)
        files |= tensors
    summary = _summary(imported, dataset, gates)
    return seal_bundle(target, _manifest(target, foreign, imported, summary, pools), files)


def _imported(foreign: ForeignModel, dataset: Dataset | None) -> _Imported:
    encoder_file, encoder = read_model(foreign.encoder, label="encoder")
    decoder_file, decoder = read_model(foreign.decoder, label="decoder")
    encoder = reduce_to(encoder, encoder_outputs(encoder, foreign), label="encoder")
    decoder = reduce_to(decoder, [decoder_output(decoder)], label="decoder")
    pairing = pair(encoder, decoder, foreign)
    images = _images(pairing, foreign, dataset)
    shapes = {"image": pairing.image, "latent": pairing.latent}
    contents = {
        "encoder": wrapped_encoder(encoder, pairing.outputs, **shapes, log_var_range=foreign.log_var_range),
        "decoder": wrapped_decoder(
            decoder, **shapes, value_range=foreign.value_range, logits=foreign.decoder_output == "logits"
        ),
    }
    sealed = {label: runner(content, label) for label, content in contents.items()}
    golden = _golden(sealed["encoder"], sealed["decoder"], images, foreign)
    raw = {"encoder": runner(encoder_file, "encoder"), "decoder": runner(decoder_file, "decoder")}
    passed = _prove(sealed, raw, golden, pairing, foreign)
    made_by = {
        m.producer_name: m.producer_version or "unknown" for m in (encoder, decoder) if m.producer_name
    }
    return _Imported(pairing, contents, golden, passed, made_by)


def _prove(
    sealed: dict[str, Compute],
    raw: dict[str, Compute],
    golden: dict[str, Rows],
    pairing: Pairing,
    foreign: ForeignModel,
) -> Gate:
    """Compare with the files as they came, whose outputs are read as their own library reads them."""

    def posterior(rows: Rows) -> list[Rows]:
        outputs = raw["encoder"](rows, pairing.outputs.names)
        if pairing.outputs.concatenated:
            outputs = np.split(outputs[0], 2, axis=1)
        if pairing.outputs.log_var is None:
            return [outputs[0], np.full_like(outputs[0], LOG_VAR_RANGE[0])]
        return outputs

    def clamped(rows: Rows) -> list[Rows]:
        mean, log_var = posterior(rows)
        return [mean, log_var if pairing.outputs.log_var is None else foreign.clamped(log_var)]

    def pixels(rows: Rows) -> list[Rows]:
        return [foreign.pixels(raw["decoder"](rows, None)[0])]

    differences = {
        "encoder": difference(sealed["encoder"], clamped, golden["image"]),
        "decoder": difference(sealed["decoder"], pixels, golden["latent"]),
    }
    proved = {name: rows[: max(BATCHES)] for name, rows in golden.items()}
    if pairing.outputs.log_var is not None:
        doubt_encoder(posterior(proved["image"])[1], pairing.outputs, foreign)
    remark = doubt_decoder(raw["decoder"](proved["latent"], None)[0], foreign)
    return equivalence_gate(differences, remark=remark)


def _images(pairing: Pairing, foreign: ForeignModel, dataset: Dataset | None) -> Rows:
    """A few rows in the value range: real ones where there are any."""
    if dataset is None:
        return foreign.in_range(np.random.default_rng(0).random((GOLDEN_ROWS, *pairing.image), np.float32))
    if dataset.image_shape != pairing.image:
        raise TrainingError(
            f"--data: want images of {shown(pairing.image)}, as the encoder takes them, "
            f"came {shown(dataset.image_shape)}"
        )
    return foreign.in_range(sample_rows(dataset.train.images, GOLDEN_ROWS).numpy())


def _golden(encoder: Compute, decoder: Compute, image: Rows, foreign: ForeignModel) -> dict[str, Rows]:
    """What the server must get from the same inputs; half the latents are posterior means, half noise."""
    mean, log_var = encoder(image, None)
    noise = np.random.default_rng(0).standard_normal(mean.shape, np.float32)
    latent = noise / np.float32(foreign.latent_scale) + np.float32(foreign.latent_shift)
    latent[::2] = mean[::2]
    (decoded,) = decoder(latent, None)
    return {"image": image, "mean": mean, "log_var": log_var, "latent": latent, "decoded": decoded}


def _manifest(
    target: Path,
    foreign: ForeignModel,
    imported: _Imported,
    training: TrainingSummary,
    pools: tuple[PoolEntry, ...],
) -> ManifestBody:
    channels, height, width = imported.pairing.image
    return ManifestBody(
        name=target.parent.name,
        version=int(target.name),
        created=datetime.now(UTC),
        kind=foreign.kind,
        image=ImageSpec(
            shape=(channels, height, width),
            value_range=foreign.value_range,
            colour=COLOURS.get(channels, "other"),
        ),
        latent_shape=imported.pairing.latent,
        latent_scale=foreign.latent_scale,
        latent_shift=foreign.latent_shift,
        likelihood=Likelihood(name=foreign.likelihood, sigma=None, binarisation="none"),
        prior="standard_normal",
        graphs={
            "encoder": _entry("encoder", "image", ("mean", "log_var"), imported),
            "decoder": _entry("decoder", "latent", ("image",), imported),
        },
        pools=pools,
        training=training,
    )


def _entry(
    role: Literal["encoder", "decoder"], input_name: str, outputs: tuple[str, ...], imported: _Imported
) -> Graph:
    model = onnx.load_model_from_string(imported.contents[role])
    return Graph(
        file=f"{role}.onnx",
        inputs={input_name: input_name},
        outputs={output: output for output in outputs},
        opset=check_graph(model, label=role),
        ir_version=model.ir_version,
        parity={},
    )


def _summary(imported: _Imported, dataset: Dataset | None, gates: tuple[Gate, ...]) -> TrainingSummary:
    """Of the training nothing is known; the data set is the one the pools were fitted to."""
    own = {name: value for name, value in versions().items() if name in ("vaeserve", "onnx", "onnxruntime")}
    return TrainingSummary(
        dataset=dataset.name if dataset else "unknown",
        dataset_sha256=dataset.sha256 if dataset else None,
        objective="unknown",
        beta=None,
        seed=None,
        steps=None,
        git_commit=None,
        versions={**imported.producers, **own},
        metrics={},
        gates=gates,
    )
