"""The bundles of the check, made once, in processes of their own.

``small`` has ``toy`` and ``conv``, ``large`` the large decoder; ``card`` only says what the card is, and so
does ``small``.

Those of the networks have neither pools nor reference: with 16,384 latents each pool would take a gigabyte.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from benchmarks.gpu.step import Told, write_json

Part = Literal["small", "large"]
FOLDERS: dict[str, Part] = {"toy": "small", "conv": "small", "large": "large"}
"""Model to the repository that it is in."""
REHEARSED_CHANNELS, REHEARSED_LATENTS = (8, 8), 8
"""Of the large decoder on a CPU."""

_EXAMPLES = 2
"""Rows that the exporter is shown; with one it would take the batch for fixed."""
_GOLDEN_ROWS = 1
"""Of the large network each takes a core the better part of a minute."""
_LOOK_S = 0.05


def repository(told: Told, model: str) -> Path:
    """The repository with the model in it, once it is there.

    Raises:
        RuntimeError: it could not be made.
        TimeoutError: it is not there when the step ends.
    """
    part = FOLDERS[model]
    folder, failed = told.work / part, told.work / f"{part}.failed"
    while not (folder / model / "1").exists():
        if failed.exists():
            raise RuntimeError(f"the bundle {model} could not be made: {failed.read_text()}")
        if told.left_s() <= 0:
            raise TimeoutError(f"the bundle {model} was not there in time")
        time.sleep(_LOOK_S)
    return folder


def graph_file(told: Told, model: str, role: str) -> Path:
    return repository(told, model) / model / "1" / f"{role}.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.bundles")
    parser.add_argument("--part", choices=("card", "small", "large"), required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    makers = {"card": _card, "small": _small, "large": _large}
    try:
        makers[options.part](options.device, options.work)
    except Exception as exc:
        (options.work / f"{options.part}.failed").write_text(f"{type(exc).__name__}: {exc}")
        raise


def _card(device: str, work: Path) -> None:
    from benchmarks.gpu import card

    write_json(work / "card.json", card.describe(device))


def _small(device: str, work: Path) -> None:
    from benchmarks.gpu import networks
    from tests.support import toy

    _card(device, work)
    toy.make_bundle(work / "small", with_score=True)
    _seal(networks.conv, work / "small")


def _large(device: str, work: Path) -> None:
    from benchmarks.gpu import networks

    def rehearsed() -> networks.Network:
        return networks.large(REHEARSED_CHANNELS, REHEARSED_LATENTS)

    _seal(networks.large if device == "cuda" else rehearsed, work / "large")


def _seal(make: "Callable[[], object]", repository: Path) -> None:
    """The server proves the golden rows when it loads the bundle."""
    import torch
    from safetensors.torch import save

    from benchmarks.gpu.networks import Network
    from benchmarks.serving.models import manifest
    from serving import bundle
    from training.export.graphs import IR_VERSION, OPSET, to_onnx

    network = make()
    assert isinstance(network, Network)
    torch.manual_seed(1)
    image = torch.rand(_EXAMPLES, *network.image_shape)
    latent = torch.randn(_EXAMPLES, *network.latent_shape)
    seen, drawn = image[:_GOLDEN_ROWS], latent[:_GOLDEN_ROWS]
    with torch.inference_mode():
        (mean, log_var), decoded = network.encoder(seen), network.decoder(drawn)
    golden = {"image": seen, "mean": mean, "log_var": log_var, "latent": drawn, "decoded": decoded}
    files = {
        "encoder.onnx": to_onnx(network.encoder, {"image": image}, ("mean", "log_var"), label="encoder"),
        "decoder.onnx": to_onnx(network.decoder, {"latent": latent}, ("image",), label="decoder"),
        "golden.safetensors": bytes(save({name: rows.contiguous() for name, rows in golden.items()})),
    }
    body = manifest(network.name, network.image_shape, network.latent_shape, OPSET, IR_VERSION)
    bundle.seal(repository / network.name / "1", body, files)


if __name__ == "__main__":
    main()
