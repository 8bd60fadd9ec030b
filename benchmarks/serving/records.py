"""What is written: one record for each server and workload, and the tables made of them."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.serving.workloads import Workload


@dataclass(frozen=True)
class Measurement:
    """One round of one server under one workload."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """CPU seconds of the server; the load generator's are not in it."""
    rss_mib: float
    foreign_cpus: float
    """CPUs kept busy by neither the server nor the load generator."""

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True)
class Record:
    """Medians over the rounds of one server under one workload."""

    server: str
    workload: str
    requests_per_s: float
    samples_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s_per_1000_samples: float
    rss_mib: float
    rounds: int
    rounds_requests_per_s: tuple[float, ...]
    """Each round's figure, in order."""
    foreign_cpus: float

    @property
    def spread(self) -> float:
        """(largest - smallest) / median of the rounds."""
        figures = self.rounds_requests_per_s
        return (max(figures) - min(figures)) / statistics.median(figures)


def summarise(server: str, workload: Workload, rounds: Sequence[Measurement]) -> Record:
    def median(values: Iterable[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    rates = tuple(round(one.requests_per_s, 1) for one in rounds)
    return Record(
        server=server,
        workload=workload.name,
        requests_per_s=median(rates, 1),
        samples_per_s=median((rate * workload.rows for rate in rates), 1),
        p50_ms=median((one.p50_ms for one in rounds), 4),
        p99_ms=median((one.p99_ms for one in rounds), 4),
        cpu_s_per_1000_samples=median(
            (1000 * one.cpu_s / (one.requests * workload.rows) for one in rounds), 6
        ),
        rss_mib=median((one.rss_mib for one in rounds), 1),
        rounds=len(rounds),
        rounds_requests_per_s=rates,
        foreign_cpus=median((one.foreign_cpus for one in rounds), 2),
    )


def write_json(path: Path, records: Sequence[Record]) -> None:
    """A list of objects, one a line."""
    lines = ",\n".join(f"  {json.dumps(asdict(record))}" for record in records)
    path.write_text(f"[\n{lines}\n]\n")


def read_json(path: Path) -> list[Record]:
    return [
        Record(**{**entry, "rounds_requests_per_s": tuple(entry["rounds_requests_per_s"])})
        for entry in json.loads(path.read_text())
    ]


_TABLES = (
    ("Requests per second", "requests_per_s"),
    ("Latency, median, ms", "p50_ms"),
    ("Latency, 99th percentile, ms", "p99_ms"),
    ("CPU seconds per 1,000 samples", "cpu_s_per_1000_samples"),
    ("Resident memory, MiB", "rss_mib"),
)


def markdown(records: Sequence[Record]) -> str:
    """A table for each figure: a row for each server, a column for each workload."""
    return "\n".join(f"{title}:\n\n{_table(records, figure)}" for title, figure in _TABLES)


def _table(records: Sequence[Record], figure: str) -> str:
    cells = {(record.server, record.workload): getattr(record, figure) for record in records}
    servers = dict.fromkeys(record.server for record in records)
    workloads = dict.fromkeys(record.workload for record in records)
    lines = [
        "| server | " + " | ".join(f"`{workload}`" for workload in workloads) + " |",
        "|---|" + "---:|" * len(workloads),
    ]
    for server in servers:
        row = (_cell(cells.get((server, workload))) for workload in workloads)
        lines.append(f"| `{server}` | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    """Three significant digits; thousands separated."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")
