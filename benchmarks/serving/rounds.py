"""Running servers side by side: round after round each gets its turn, so that a noisy minute hits all."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from benchmarks.serving.bare import canned_reply
from benchmarks.serving.h2load import LoadFailed
from benchmarks.serving.protocols import VaeV1
from benchmarks.serving.records import Measurement, Record, summarise
from benchmarks.serving.servers import Server, Setting, Subject
from benchmarks.serving.workloads import Case, Workload, WrongAnswer

_FAILURES = (
    WrongAnswer,
    LoadFailed,
    OSError,
    grpc.RpcError,
    grpc.FutureTimeoutError,
    subprocess.SubprocessError,
)


@dataclass(frozen=True)
class Plan:
    seconds: float
    warm_up_s: float
    rounds: int
    loop: str


@dataclass
class Results:
    records: list[Record] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """``server workload`` → why there is no record."""


def run(servers: Sequence[Server], workloads: Iterable[Workload], repository: Path, plan: Plan) -> Results:
    results = Results()
    for workload in workloads:
        with tempfile.TemporaryDirectory(prefix="vae-benchmark-") as folder:
            case = Case(workload, repository)
            setting = Setting(case, Path(folder), plan.loop, Path(folder, "reply"))
            request = VaeV1().request(case)
            setting.reply.write_bytes(canned_reply(repository, workload.method, request))
            _run_workload([server for server in servers if server.fits(workload)], setting, plan, results)
    return results


def _run_workload(servers: Sequence[Server], setting: Setting, plan: Plan, results: Results) -> None:
    workload = setting.case.workload
    with contextlib.ExitStack() as stack:
        subjects: dict[str, Subject] = {}
        measured: dict[str, list[Measurement]] = {server.name: [] for server in servers}

        def attempt(name: str, action: Callable[[], None]) -> None:
            try:
                action()
            except _FAILURES as exc:
                subjects.pop(name, None)
                results.failures[f"{name} {workload.name}"] = str(exc)
                _say(f"{workload.name:15} {name:10} FAILED: {exc}")

        def start(server: Server) -> None:
            subjects[server.name] = stack.enter_context(server.start(setting))

        def measure(name: str) -> None:
            one = subjects[name].measure(plan.warm_up_s, plan.seconds)
            measured[name].append(one)
            _say(
                f"{workload.name:15} {name:10} {one.requests_per_s:8,.0f} req/s  p50 {one.p50_ms:7.3f} ms"
                f"  p99 {one.p99_ms:7.3f} ms  {one.cpu_s / one.seconds:4.2f} CPUs  {one.rss_mib:5,.0f} MiB"
                f"  others {one.foreign_cpus:4.2f} CPUs"
            )

        for server in servers:
            attempt(server.name, lambda server=server: start(server))  # type: ignore[misc]
        for _ in range(plan.rounds):
            for name in tuple(subjects):
                attempt(name, lambda name=name: measure(name))  # type: ignore[misc]
        results.records += [summarise(name, workload, measured[name]) for name in subjects]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
