"""Twenty minutes of mixed load: ``python -m benchmarks.serving.soak``.

Clients of the real client library call Sample, Encode, Decode and Reconstruct with 1 to 1,024 rows. At
the end memory must be flat, no call may have failed, and the server's metrics must agree with what
the clients counted: every row that went in was run once and came out.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.serving import machine, models
from benchmarks.serving.metrics_page import Key, Page
from benchmarks.serving.servers import Vaeserve, vaeserve
from serving.client import AsyncClient, Format, VaeError

_CLIENTS = 8
_MAX_ROWS = {"mlp": 1024, "conv": 64}
_METHODS = ("Sample", "Encode", "Decode", "Reconstruct")
_FORMATS: tuple[Format, ...] = ("float32", "uint8", "png")
_INTERVAL_S = 10.0
_GROWTH = 0.05
"""What the last quarter may have more than the second, which is after the warm-up."""


@dataclass
class Counts:
    """What the clients sent and got back whole."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(model, method)"""
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(model, graph)"""
    sampled: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.soak")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true", help="half a minute, for development")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/soak.json"))
    options = parser.parse_args()
    minutes = 0.5 if options.quick else options.minutes
    with tempfile.TemporaryDirectory(prefix="vae-soak-") as name:
        repository = models.make_repository(Path(name, "models"))
        with vaeserve(repository, Path(name, "log")) as server:
            counts, rss_mib = asyncio.run(_soak(server, minutes * 60))
            problems = [
                *counts.errors[:5],
                *_differences(counts, Page.of(server.metrics_port).samples),
                *_growth(rss_mib),
            ]
    total = sum(counts.requests.values())
    print(f"{total:,} calls, {sum(counts.rows.values()):,} rows through graphs in {minutes:g} minutes")
    print("resident MiB every 10 s: " + " ".join(f"{mib:.0f}" for mib in rss_mib))
    print(
        "\n".join(f"FALL SHORT  {problem}" for problem in problems)
        or "pass        flat, no error, consistent"
    )
    if not options.quick:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "machine": machine.describe(),
            "minutes": minutes,
            "calls": {f"{model} {method}": n for (model, method), n in sorted(counts.requests.items())},
            "rows": {f"{model} {graph}": n for (model, graph), n in sorted(counts.rows.items())},
            "errors": len(counts.errors),
            "rss_mib": [round(mib, 1) for mib in rss_mib],
            "problems": problems,
        }
        options.output.write_text(json.dumps(document, indent=2) + "\n")
    return 1 if problems else 0


async def _soak(server: Vaeserve, seconds: float) -> tuple[Counts, list[float]]:
    counts = Counts()
    end = time.monotonic() + seconds
    rss_mib = []
    async with AsyncClient(f"127.0.0.1:{server.port}", timeout_s=60) as client:
        work = [asyncio.create_task(_client(client, seed, end, counts)) for seed in range(_CLIENTS)]
        while time.monotonic() < end:
            await asyncio.sleep(min(_INTERVAL_S, max(0.0, end - time.monotonic())))
            rss_mib.append(server.process.usage().rss_mib)
        await asyncio.gather(*work)
    return counts, rss_mib


async def _client(client: AsyncClient, seed: int, end: float, counts: Counts) -> None:
    rng = np.random.default_rng(seed)
    while time.monotonic() < end:
        model, method = str(rng.choice(list(_MAX_ROWS))), str(rng.choice(_METHODS))
        rows = int(2 ** rng.uniform(0, np.log2(_MAX_ROWS[model])))
        try:
            came = await _call(client, rng, model, method, rows)
        except VaeError as exc:
            counts.errors.append(f"{method} of {rows} rows: {exc}")
            continue
        if came != rows:
            counts.errors.append(f"{method}: want {rows} rows, came {came}")
        counts.requests[model, method] += 1
        counts.sampled[model] += rows if method == "Sample" else 0
        if method != "Encode":
            counts.rows[model, "decoder"] += rows
        if method in ("Encode", "Reconstruct"):
            counts.rows[model, "encoder"] += rows


async def _call(client: AsyncClient, rng: np.random.Generator, model: str, method: str, rows: int) -> int:
    """The number of rows that came back."""
    form = _FORMATS[int(rng.integers(len(_FORMATS)))]
    if method == "Sample":
        return len((await client.sample(model, rows, seed=int(rng.integers(2**32)), format=form)).images)
    if method == "Decode":
        latents = rng.normal(size=(rows, models.LATENTS[model])).astype(np.float32)
        return len((await client.decode(model, latents, format=form)).images)
    images = rng.random((rows, *models.IMAGE_SHAPE), np.float32)
    if method == "Encode":
        return len((await client.encode(model, images)).mean)
    return len((await client.reconstruct(model, images, format=form)).images)


def _key(name: str, **labels: str) -> Key:
    return name, frozenset(labels.items())


def _differences(counts: Counts, metrics: Mapping[Key, float]) -> list[str]:
    wanted: dict[Key, float] = {}
    for (model, method), calls in counts.requests.items():
        answered = {"model": model, "method": method, "transport": "grpc", "code": "OK"}
        wanted[_key("vae_requests_total", **answered)] = calls
        wanted[_key("vae_inflight_requests", model=model, method=method)] = 0
    for (model, graph), rows in counts.rows.items():
        wanted[_key("vae_batch_rows_sum", model=model, graph=graph)] = rows
        wanted[_key("vae_queue_rows", model=model, graph=graph)] = 0
    for model, rows in counts.sampled.items():
        wanted[_key("vae_samples_total", model=model, source="prior")] = rows
    return [
        f"metrics: {name} of {dict(labels)}: want {value:,.0f}, came {metrics.get((name, labels))}"
        for (name, labels), value in wanted.items()
        if metrics.get((name, labels)) != value
    ]


def _growth(rss_mib: list[float]) -> list[str]:
    quarter = len(rss_mib) // 4
    if not quarter:
        return []
    early, late = max(rss_mib[quarter : 2 * quarter]), max(rss_mib[-quarter:])
    if late <= early * (1 + _GROWTH):
        return []
    return [f"memory: {early:.0f} MiB in the second quarter, {late:.0f} MiB in the last"]


if __name__ == "__main__":
    sys.exit(main())
