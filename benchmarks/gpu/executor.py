"""The step ``executor``: what buffers that are bound once gain over plain runs, and what CUDA graphs gain
over both.

All from host to host, as the server runs a graph: rows of numpy in, rows of numpy out. The ways take turns,
so that a machine that slows down slows all of them; the figures are medians.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmarks.gpu import step
from benchmarks.gpu.step import Record, Told
from benchmarks.serving.models import make_repository
from serving.batching.batch import Outputs, Rows, Run
from serving.bundle import Bundle, Role, read
from serving.runtime.providers import Provider, choose
from serving.runtime.session import Session

SIZES = (1, 8, 48, 64, 256, 1024)
_ROUNDS = 5
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


def work(told: Told, record: Record) -> None:
    provider = choose(told.device)
    root = make_repository(told.work / "executor")
    gains: list[float] = []
    roles: tuple[Role, ...] = ("decoder", "encoder")
    for role in roles:
        for model in ("conv", "mlp"):
            for figure in _figures(read(root / model / "1", 1 << 30), role, provider):
                gains += [figure.recorded] if figure.recorded else []
                record.row("graphs", asdict(figure))
    if gains:
        record.figure("CUDA graph, times as fast as plain: median", round(statistics.median(gains), 2))


def _figures(sealed: Bundle, role: Role, provider: Provider) -> Iterator[Figure]:
    graph = sealed.manifest.graphs[role]
    assert sealed.manifest.image
    shape = sealed.manifest.image.shape if role == "encoder" else sealed.manifest.latent_shape
    variants = {"bound": replace(provider, binds_on_cpu=True, records=False)}
    if provider.on_gpu:
        variants["recorded"] = provider
    sessions = {
        name: Session(sealed.content(graph.file), graph, variant, role=role, most_rows=max(SIZES))
        for name, variant in variants.items()
    }
    plain, name = sessions["bound"].run_plain, sessions["bound"].inputs[0]
    for rows in SIZES:
        batch = np.random.default_rng(rows).random((rows, *shape), np.float32)
        calls = {"plain": _call(plain, name, batch)}
        calls |= {way: _call(session.run, name, batch) for way, session in sessions.items()}
        took = _medians(calls, _ROUND_S["cuda" if provider.on_gpu else "cpu"])
        recorded = took.get("recorded")
        yield Figure(
            sealed.manifest.name, role, rows, took["plain"], took["bound"], recorded,
            bound=took["plain"] / took["bound"], recorded=took["plain"] / recorded if recorded else None,
        )  # fmt: skip


def _call(run: Run, name: str, batch: Rows) -> Callable[[], Outputs]:
    return lambda: run({name: batch})


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


if __name__ == "__main__":
    step.main("executor", work)
