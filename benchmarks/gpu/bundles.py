"""Bundles of the networks without pools or reference: with 16,384 latents each pool would take a gigabyte."""

from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save

from benchmarks.gpu.networks import Network
from serving import bundle
from training.export.graphs import IR_VERSION, OPSET, to_onnx

_GOLDEN_ROWS = 2


def seal(network: Network, repository: Path) -> Path:
    """The folder of the bundle; the server proves its golden rows when it loads it."""
    torch.manual_seed(1)
    image = torch.rand(_GOLDEN_ROWS, *network.image_shape)
    latent = torch.randn(_GOLDEN_ROWS, *network.latent_shape)
    with torch.inference_mode():
        (mean, log_var), decoded = network.encoder(image), network.decoder(latent)
    golden = {"image": image, "mean": mean, "log_var": log_var, "latent": latent, "decoded": decoded}
    files = {
        "encoder.onnx": to_onnx(network.encoder, {"image": image}, ("mean", "log_var"), label="encoder"),
        "decoder.onnx": to_onnx(network.decoder, {"latent": latent}, ("image",), label="decoder"),
        "golden.safetensors": bytes(save({name: rows.contiguous() for name, rows in golden.items()})),
    }
    folder = repository / network.name / "1"
    bundle.seal(folder, _body(network), files)
    return folder


def _body(network: Network) -> bundle.ManifestBody:
    def graph(file: str, source: str, *outputs: str) -> bundle.Graph:
        named = {output: output for output in outputs}
        return bundle.Graph(
            file=file, inputs={source: source}, outputs=named, opset=OPSET, ir_version=IR_VERSION, parity={}
        )

    return bundle.ManifestBody(
        name=network.name,
        version=1,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        kind="vae",
        image=bundle.ImageSpec(
            shape=network.image_shape,
            value_range=(0.0, 1.0),
            colour="grey" if network.image_shape[0] == 1 else "rgb",
        ),
        latent_shape=network.latent_shape,
        latent_scale=1.0,
        latent_shift=0.0,
        likelihood=bundle.Likelihood(name="bernoulli", sigma=None, binarisation="dynamic"),
        prior="standard_normal",
        graphs={
            "encoder": graph("encoder.onnx", "image", "mean", "log_var"),
            "decoder": graph("decoder.onnx", "latent", "image"),
        },
        pools=(),
        training=bundle.TrainingSummary(
            dataset="none: random weights",
            dataset_sha256=None,
            objective="none",
            beta=None,
            seed=None,
            steps=None,
            git_commit=None,
            versions={},
            metrics={},
            gates=(),
        ),
    )
