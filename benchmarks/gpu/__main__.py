"""``python -m benchmarks.gpu``: on a machine with an NVIDIA GPU, all of it in one run.

``--device cpu`` rehearses the same way with small networks, so that the script is tested where there is no
GPU; its figures mean nothing.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import card, graphs, networks, served
from benchmarks.gpu.networks import Network
from benchmarks.serving import machine
from serving.providers import cuda_obstacle
from training.export import export_bundle
from training.export.provenance import versions

RESULTS = {"cuda": Path("benchmarks/results/gpu"), "cpu": Path("build/benchmarks/gpu")}
SIZES = {"conv": [4**power for power in range(6)], "large": [1, 2, 4, 8, 16, 32]}
"""Rows; 1,024 images of 512×512 do not fit on a card with what the decoder keeps between its layers."""
_REHEARSED = {"conv": [1, 4], "large": [1, 2]}
_BUNDLE_IMAGES = 64
_SERVED_S = {"cuda": 5.0, "cpu": 0.5}


def main() -> int:
    options = _options()
    device = options.device
    if device == "cuda" and (obstacle := cuda_obstacle()):
        print(f"--device cuda: {obstacle}; want a GPU, or --device cpu for a rehearsal", file=sys.stderr)
        return 2
    sizes = SIZES if device == "cuda" else _REHEARSED
    large = networks.large() if device == "cuda" else networks.large((8, 8), latent_size=8)
    ceilings = card.ceilings(device)
    document: dict[str, Any] = {
        **card.describe(device),
        "machine": machine.describe(),
        "versions": versions(),
        "ceilings": asdict(ceilings),
        "graphs": [],
    }
    with tempfile.TemporaryDirectory(prefix="gpu-") as name:
        repository = Path(name, "models")
        measured = (networks.conv(), large)
        for network in measured:
            _export(network, repository)
            for timing in _timings(network, repository, device, sizes[network.name]):
                shares = ceilings.shares(timing.flops_per_s, timing.bytes_per_s)
                document["graphs"].append(asdict(timing) | shares)
        document |= asyncio.run(_served(measured, Path(name), device, sizes, options.requests))
    output = options.output or RESULTS[device]
    output.mkdir(parents=True, exist_ok=True)
    (output / "gpu.json").write_text(json.dumps(document, indent=2) + "\n")
    print(f"written: {output}/gpu.json")
    return 0


def _export(network: Network, repository: Path) -> None:
    images = torch.rand(_BUNDLE_IMAGES, *network.image_shape)
    labels = torch.arange(_BUNDLE_IMAGES) % 2
    # Random weights are no model: the gates say so, and are told to let it pass.
    export_bundle(
        network.encoder, network.decoder, repository=repository, name=network.name,
        images=images, labels=labels, label_names=("a", "b"), force=True,
    )  # fmt: skip


def _timings(network: Network, repository: Path, device: Any, sizes: list[int]) -> Iterator[graphs.Timing]:
    """Of the decoder; of the encoder too, where it is more than what a bundle needs."""
    folder = repository / network.name / "1"
    parts = [("decoder", network.decoder, network.latent_shape)]
    if network.name == "conv":
        parts.append(("encoder", network.encoder, network.image_shape))
    for role, module, row_shape in parts:
        subject = graphs.Subject(network.name, role, folder / f"{role}.onnx", module, row_shape)
        for timing in graphs.timings(subject, device, sizes):
            print(f"{timing.network} {timing.role} {timing.what:15} {timing.rows:5} rows {timing.ms:9.3f} ms")
            yield timing


async def _served(
    measured: tuple[Network, ...], folder: Path, device: Any, sizes: dict[str, list[int]], requests: int
) -> dict[str, Any]:
    found: dict[str, Any] = {"served": [], "alone": [], "memory": []}
    with served.server(folder / "models", device, folder / "server.log") as (process, port):
        for network in measured:
            latents = torch.randn(max(sizes[network.name]), *network.latent_shape).numpy()
            for rows in sizes[network.name]:
                pixels = torch.Size(network.image_shape).numel()
                one = await served.throughput(port, network.name, latents[:rows], pixels, _SERVED_S[device])
                print(f"{network.name} served {rows:5} rows {one.rows_per_s:10,.1f} rows/s")
                found["served"].append(asdict(one) | {"rows_in_each_set": rows})
            content = served.request(network.name, latents[:1])
            ours, reply = await served.alone(port, content)
            with served.echo(reply, folder) as echo_port:
                bare, _ = await served.alone(echo_port, content)
            found["alone"].append({"network": network.name, "p50_ms": ours, "grpc_p50_ms": bare})
        conv = measured[0]
        async for look in served.memory(process, port, conv.name, conv.latent_shape, requests):
            found["memory"].append(asdict(look))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--requests", type=int, default=10_000, help="of random sizes, for the memory")
    parser.add_argument("--output", type=Path, help="folder (default: benchmarks/results/gpu)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
