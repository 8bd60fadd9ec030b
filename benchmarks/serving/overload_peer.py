"""mosec under the same overload: HTTP/1.1, so each connection has one request in flight.

It counts requests in progress (1,024) and answers 429 to more, so it is given twice as many connections.
"""

import contextlib
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import h2load
from benchmarks.serving.peers import PEERS
from benchmarks.serving.processes import on_cpus
from benchmarks.serving.servers import Loaded, Setting
from benchmarks.serving.workloads import Case

_CONNECTIONS = 2048
_MOSEC = next(peer for peer in PEERS if peer.name == "mosec")


@dataclass(frozen=True)
class PeerOutcome:
    rows: int
    factor: float
    capacity: tuple[float, float]
    """Before and after."""
    answered_per_s: float
    refused_per_s: float
    statuses: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> float:
        return 2 * self.answered_per_s / sum(self.capacity)

    def __str__(self) -> str:
        return (
            f"mosec       {self.rows:4} rows, {self.factor:4g}×: {self.answered_per_s:,.0f}/s of "
            f"{self.capacity[0]:,.0f} and {self.capacity[1]:,.0f} ({self.kept:.2f}), refused "
            f"{self.refused_per_s:,.0f}/s; {self.statuses}"
        )


def measure(
    case: Case, factor: float, folder: Path, seconds: float, halves: tuple[set[int], set[int]]
) -> PeerOutcome:
    """``halves``: the CPUs of the server, and of those who call it."""
    scratch = folder / "mosec"
    scratch.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        with on_cpus(halves[0]):
            subject = stack.enter_context(_MOSEC.start(Setting(case, scratch, "asyncio", scratch / "reply")))
        stack.enter_context(on_cpus(halves[1]))
        assert isinstance(subject, Loaded)
        before = subject.measure(1.0, 5.0).requests_per_s
        statuses = _offer(subject.target, before * factor, seconds, scratch)
        after = subject.measure(1.0, 5.0).requests_per_s
    return PeerOutcome(
        rows=case.workload.rows,
        factor=factor,
        capacity=(before, after),
        answered_per_s=statuses.get("200", 0) / seconds,
        refused_per_s=statuses.get("429", 0) / seconds,
        statuses=statuses,
    )


def _offer(target: h2load.Target, per_s: float, seconds: float, folder: Path) -> dict[str, int]:
    """Answers by HTTP status."""
    body, log = folder / "body", folder / "h2load.log"
    body.write_bytes(target.body)
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "--threads=1", f"--clients={_CONNECTIONS}", f"--duration={seconds:g}"]
    command += [f"--rps={per_s / _CONNECTIONS:.6g}", f"--data={body}", f"--log-file={log}"]
    command.append(f"http://127.0.0.1:{target.port}{target.path}")
    subprocess.run(command, check=True, capture_output=True, timeout=seconds + 60)
    statuses: dict[str, int] = {}
    for status in re.findall(r"^\d+\t(-?\d+)\t", log.read_text(), re.MULTILINE):
        statuses[status] = statuses.get(status, 0) + 1
    return statuses
