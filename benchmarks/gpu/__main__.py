"""``python -m benchmarks.gpu``: on a machine with an NVIDIA GPU, all of it in one run.

``--device cpu`` rehearses the same way with small networks, so that the script is tested where there is no
GPU; its figures mean nothing.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import bundles, card, graphs, networks, served
from benchmarks.gpu.networks import Network
from benchmarks.serving import machine
from serving.runtime.providers import cuda_obstacle
from training.export.provenance import versions

RESULTS = {"cuda": Path("benchmarks/results/gpu"), "cpu": Path("build/benchmarks/gpu")}
SIZES = {"conv": [4**power for power in range(6)], "large": [1, 2, 4, 8, 16, 32]}
"""Rows; 1,024 images of 512×512 do not fit on a card with what the decoder keeps between its layers."""
_REHEARSED = {"conv": [1, 4], "large": [1, 2]}
_SERVED_S = {"cuda": 5.0, "cpu": 0.5}


def main() -> int:
    options = _options()
    device = options.device
    if device == "cuda" and (obstacle := _obstacle()):
        print(f"--device cuda: {obstacle}; want a GPU, or --device cpu for a rehearsal", file=sys.stderr)
        return 2
    output = options.output or RESULTS[device]
    output.mkdir(parents=True, exist_ok=True)
    large = networks.large() if device == "cuda" else networks.large((8, 8), latent_size=8)
    ceilings = card.ceilings(device)
    document: dict[str, Any] = {
        **card.describe(device),
        "machine": machine.describe(),
        "versions": versions(),
        "ceilings": asdict(ceilings),
        "graphs": [],
        "served": [],
        "alone": [],
        "memory": [],
        "failures": {},
    }
    for network in (networks.conv(), large):
        sizes = (SIZES if device == "cuda" else _REHEARSED)[network.name]
        with tempfile.TemporaryDirectory(prefix="gpu-") as name:
            folder = bundles.seal(network, Path(name, "models"))
            for timing in _timings(network, folder, device, sizes, document["failures"]):
                shares = ceilings.shares(timing.flops_per_s, timing.bytes_per_s)
                document["graphs"].append(asdict(timing) | shares)
            _write(document, output)
            asyncio.run(_served(network, Path(name), device, sizes, options.requests, document))
        _write(document, output)  # after each: a card's time is dear
    for what, why in document["failures"].items():
        print(f"NOT MEASURED  {what}: {why.splitlines()[0]}")
    print(f"written: {output}/gpu.json")
    return 0


def _obstacle() -> str | None:
    if obstacle := cuda_obstacle():
        return obstacle
    return None if torch.cuda.is_available() else "this build of PyTorch sees no CUDA device"


def _write(document: dict[str, Any], output: Path) -> None:
    (output / "gpu.json").write_text(json.dumps(document, indent=2) + "\n")


def _timings(
    network: Network, folder: Path, device: Any, sizes: list[int], failures: dict[str, str]
) -> Iterator[graphs.Timing]:
    """Of the decoder; of the encoder too, where it is more than what a bundle needs."""
    parts = [("decoder", network.decoder, network.latent_shape)]
    if network.name == "conv":
        parts.append(("encoder", network.encoder, network.image_shape))
    for role, module, row_shape in parts:
        subject = graphs.Subject(network.name, role, folder / f"{role}.onnx", module, row_shape)
        for timing in graphs.timings(subject, device, sizes, failures):
            print(f"{timing.network} {timing.role} {timing.what:15} {timing.rows:5} rows {timing.ms:9.3f} ms")
            yield timing


async def _served(
    network: Network, folder: Path, device: Any, sizes: list[int], requests: int, document: dict[str, Any]
) -> None:
    latents = torch.randn(max(sizes), *network.latent_shape).numpy()
    pixels = math.prod(network.image_shape)
    with served.server(folder / "models", device, folder / "log", max(sizes)) as (process, port):
        for rows in sizes:
            one = await served.throughput(port, network.name, latents[:rows], pixels, _SERVED_S[device])
            print(f"{network.name} served {rows:5} rows {one.rows_per_s:10,.1f} rows/s")
            document["served"].append(asdict(one) | {"rows_in_each_set": rows})
        content = served.request(network.name, latents[:1])
        ours, reply = await served.alone(port, content)
        with served.echo(reply, folder) as echo_port:
            bare, _ = await served.alone(echo_port, content)
        document["alone"].append({"network": network.name, "p50_ms": ours, "grpc_p50_ms": bare})
        if network.name == "conv":
            async for look in served.memory(process, port, network.name, latents, requests):
                document["memory"].append(asdict(look))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--requests", type=int, default=10_000, help="of random sizes, for the memory")
    parser.add_argument("--output", type=Path, help="folder (default: benchmarks/results/gpu)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
