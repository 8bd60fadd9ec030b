"""``python -m benchmarks.gpu.executor``: what buffers that are bound once gain over plain runs, and what CUDA
graphs gain over both.

All from host to host, as the server runs a graph: rows of numpy in, rows of numpy out. The ways take turns,
so that a machine that slows down slows all of them; the figures are medians.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.gpu import card
from benchmarks.serving.models import make_repository
from serving.batching.batch import Outputs
from serving.bundle import Bundle, read
from serving.runtime.providers import Provider, choose
from serving.runtime.session import Session

SIZES = (1, 3, 8, 48, 64, 256, 1024)
_ROUNDS = 7
_ROUND_S = {"cuda": 0.05, "cpu": 0.2}


@dataclass(frozen=True)
class Figure:
    model: str
    graph: str
    rows: int
    plain_ms: float
    bound_ms: float
    recorded_ms: float | None
    """With a CUDA graph."""
    bound: float
    """Times as fast as plain."""
    recorded: float | None


def main() -> int:
    options = _options()
    provider = choose(options.device)
    figures = []
    with tempfile.TemporaryDirectory(prefix="executor-") as name:
        root = make_repository(Path(name))
        for model in ("mlp", "conv"):
            sealed = read(root / model / "1", 1 << 30)
            for role in ("decoder", "encoder"):
                for rows in SIZES:
                    figures.append(_figure(sealed, role, rows, provider))
                    print(*asdict(figures[-1]).values())
    output = options.output
    output.mkdir(parents=True, exist_ok=True)
    document = card.describe(options.device) | {"figures": [asdict(figure) for figure in figures]}
    (output / "executor.json").write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _figure(sealed: Bundle, role: str, rows: int, provider: Provider) -> Figure:
    graph = sealed.manifest.graphs[role]  # type: ignore[index]
    image = sealed.manifest.image.shape if role == "encoder" else sealed.manifest.latent_shape
    batch = np.random.default_rng(rows).random((rows, *image), np.float32)
    variants = {
        "bound": replace(provider, binds_on_cpu=True, records=False),
        "recorded": replace(provider, binds_on_cpu=True),
    }
    sessions = {
        name: Session(sealed.content(graph.file), graph, variant, role=role, most_rows=max(SIZES))  # type: ignore[arg-type]
        for name, variant in variants.items()
        if name == "bound" or provider.on_gpu
    }
    plain = sessions["bound"]
    calls: dict[str, Callable[[], Outputs]] = {"plain": lambda: plain.run_plain({plain.inputs[0]: batch})}
    calls |= {name: _call(session, batch) for name, session in sessions.items()}
    took = _medians(calls, _ROUND_S["cuda" if provider.on_gpu else "cpu"])
    recorded = took.get("recorded")
    return Figure(
        sealed.manifest.name, role, rows, took["plain"], took["bound"], recorded,
        bound=took["plain"] / took["bound"], recorded=took["plain"] / recorded if recorded else None,
    )  # fmt: skip


def _call(session: Session, batch: np.ndarray) -> Callable[[], Outputs]:
    return lambda: session.run({session.inputs[0]: batch})


def _medians(calls: dict[str, Callable[[], Outputs]], seconds: float) -> dict[str, float]:
    """Milliseconds of a call."""
    for call in calls.values():
        for _ in range(5):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            end = time.perf_counter() + seconds
            while (start := time.perf_counter()) < end:
                call()
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(taken) for name, taken in times.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.executor", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks/gpu"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
