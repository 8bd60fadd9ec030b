"""Bundles of the networks without pools or reference: with 16,384 latents each pool would take a gigabyte."""

from pathlib import Path

import torch
from safetensors.torch import save

from benchmarks.gpu.networks import Network
from benchmarks.serving.models import manifest
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
    body = manifest(network.name, network.image_shape, network.latent_shape, OPSET, IR_VERSION)
    bundle.seal(folder, body, files)
    return folder
