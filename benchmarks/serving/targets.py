"""What the figures must reach, each a ratio within one run, and how noisy that run was."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.serving.records import Record

CONTROLS = ("raw_ort", "echo_aio")
"""Their work never changes, so their spread over the rounds is the machine's noise."""
NOISY = 0.15

_FAST_ECHO = 17_000.0
_OURS = ("vaeserve", "vaeserve_http", "vaeserve_workers", "vaeserve_http_workers")


@dataclass(frozen=True)
class Verdict:
    target: str
    wanted: str
    came: float
    passed: bool

    def __str__(self) -> str:
        mark = "pass      " if self.passed else "FALL SHORT"
        return f"{mark}  {self.target}: {self.came:,.3g}, want {self.wanted}"


class _Figures:
    """Looks a figure up; a ratio with a server or workload that was not run is no verdict."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._records = {(record.server, record.workload): record for record in records}
        self.servers = tuple(dict.fromkeys(server for server, _ in self._records))

    def get(self, server: str, workload: str) -> Record:
        return self._records[server, workload]

    def workloads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(workload for _, workload in self._records))

    def rate(self, server: str, workload: str) -> float:
        return self.get(server, workload).requests_per_s

    def best(self, servers: Sequence[str], workload: str) -> float:
        return max(self.rate(server, workload) for server in servers)

    def others(self, workload: str) -> list[str]:
        return [
            server
            for server in self.servers
            if server not in (*_OURS, "raw_ort") and (server, workload) in self._records
        ]


_BARE = ("bare_aio", "bare_sync")


def _at_least(target: str, came: float, wanted: float) -> Verdict:
    return Verdict(target, f"≥ {wanted:,g}", came, came >= wanted)


def _mlp_single(f: _Figures) -> Iterable[Verdict]:
    ours, echo = f.rate("vaeserve", "mlp_1x64"), f.rate("echo_aio", "mlp_1x64")
    yield _at_least("mlp_1x64: requests/s over echo_aio", ours / echo, 0.70)
    if echo >= _FAST_ECHO:
        yield _at_least("mlp_1x64: requests/s", ours, 12_000)


def _mlp_batch(f: _Figures) -> Iterable[Verdict]:
    ratio = f.rate("vaeserve", "mlp_64x8") / f.best(_BARE, "mlp_64x8")
    yield _at_least("mlp_64x8: requests/s over the better bare server", ratio, 0.85)


def _conv_batch(f: _Figures) -> Iterable[Verdict]:
    ratio = f.rate("vaeserve", "conv_64x8") / f.rate("raw_ort", "conv_64x8")
    yield _at_least("conv_64x8: requests/s over raw_ort", ratio, 0.93)


def _conv_single(f: _Figures) -> Iterable[Verdict]:
    ours = f.rate("vaeserve", "conv_1x64")
    yield _at_least(
        "conv_1x64: requests/s over the better bare server", ours / f.best(_BARE, "conv_1x64"), 1.5
    )
    rivals = [server for server in f.others("conv_1x64") if not server.startswith("echo")]
    yield _at_least(
        "conv_1x64: requests/s over the best other server", ours / f.best(rivals, "conv_1x64"), 1.0
    )


def _alone(f: _Figures) -> Iterable[Verdict]:
    ratio = f.get("vaeserve", "mlp_1x1").p50_ms / f.get("bare_aio", "mlp_1x1").p50_ms
    yield Verdict("mlp_1x1: median latency over bare_aio", "≤ 1.25", ratio, ratio <= 1.25)


_CHEAP = ("mlp_1x64", "encoder_1x64")
"""Where the transport is what a call costs."""


def _http(f: _Figures) -> Iterable[Verdict]:
    """The HTTP door over the gRPC door."""
    for workload in f.workloads():
        ratio = f.rate("vaeserve_http", workload) / f.rate("vaeserve", workload)
        least = 2.0 if workload in _CHEAP else 1.0
        yield _at_least(f"{workload}: requests/s over HTTP, over gRPC", ratio, least)


_TARGETS: tuple[Callable[[_Figures], Iterable[Verdict]], ...] = (
    _mlp_single,
    _mlp_batch,
    _conv_batch,
    _conv_single,
    _alone,
    _http,
)


def verdicts(records: Iterable[Record], peers: Sequence[str]) -> list[Verdict]:
    """Every target whose servers and workloads were run."""
    figures = _Figures(records)
    found: list[Verdict] = []
    for target in _TARGETS:
        try:
            found += list(target(figures))
        except (KeyError, ValueError):  # something it compares was not run
            continue
    for peer in peers:
        for ours in ("vaeserve", "vaeserve_http"):
            found += _against(figures, ours, peer)
    return found


def _against(f: _Figures, server: str, peer: str) -> Iterable[Verdict]:
    """Throughput, p99 and CPU a sample of a peer, as factors by which we are ahead."""
    for workload in f.workloads():
        try:
            ours, theirs = f.get(server, workload), f.get(peer, workload)
        except KeyError:
            continue
        # mosec's front is written in Rust and pays no Python a call.
        least = 0.5 if (server, peer, workload) == ("vaeserve", "mosec", "mlp_1x64") else 1.0
        name = f"{workload}, {server} against {peer}"
        yield _at_least(f"{name}: requests/s", ours.requests_per_s / theirs.requests_per_s, least)
        yield _at_least(f"{name}: p99", theirs.p99_ms / ours.p99_ms, least)
        cpu = theirs.cpu_s_per_1000_samples / max(ours.cpu_s_per_1000_samples, 1e-9)
        yield _at_least(f"{name}: CPU a sample", cpu, least)


@dataclass(frozen=True)
class Noise:
    """Of one workload."""

    spread: float
    """(largest - smallest) / median over the rounds, of the control that spread most."""
    foreign_cpus: float
    """Median over the servers of the CPUs that something else kept busy."""

    @property
    def loud(self) -> bool:
        return self.spread > NOISY or self.foreign_cpus > NOISY


def noise(records: Sequence[Record]) -> dict[str, Noise]:
    """By workload."""
    found = {}
    for workload in dict.fromkeys(record.workload for record in records):
        here = [record for record in records if record.workload == workload]
        spreads = [record.spread for record in here if record.server in CONTROLS]
        foreign = statistics.median(record.foreign_cpus for record in here)
        found[workload] = Noise(round(max(spreads, default=0.0), 3), round(foreign, 3))
    return found


def too_noisy(noise_of: dict[str, Noise]) -> str | None:
    """What to say of a run during which the machine was busy with something else."""
    loud = {workload: one for workload, one in noise_of.items() if one.loud}
    if not loud:
        return None
    each = "; ".join(
        f"{workload}: controls spread {one.spread:.0%}, other programs took {one.foreign_cpus:.2f} CPUs"
        for workload, one in loud.items()
    )
    return f"TOO NOISY to quote (want at most {NOISY:.0%} and {NOISY:.2f} CPUs): {each}"
