"""The step ``served``: our server end to end, beside ONNX Runtime alone, gRPC alone, and itself without gRPC.

Several client processes, so that the load is not the limit; what they and the server take of the CPU is
written beside each figure.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu import bundles, servers, step
from benchmarks.gpu.children import Child, ChildFailed, child
from benchmarks.gpu.step import Record, Told

_ENOUGH_ROWS, _ENOUGH = 64, 0.90
"""From so many rows a request on, what the server should make of ONNX Runtime's rows a second."""
_OVERHEAD = 1.10
"""A single row may take so much of what ONNX Runtime and gRPC take."""
_WINDOWS = 40
"""Into about which the time is divided."""
_SHORTEST_S, _LONGEST_S = 0.2, 3.0
_IN_PROCESS_LAST = ("large",)
"""What is measured without gRPC when the server is gone: the card has not the memory for both."""


@dataclass(frozen=True)
class Cell:
    rows: int
    at_once: int
    """Requests in flight, of all clients together."""
    form: str = "uint8"
    alone_last: bool = False
    """Whether ONNX Runtime may need most of the card's memory for so many rows: it gets it in the end."""

    @property
    def is_judged(self) -> bool:
        return self.rows >= _ENOUGH_ROWS and self.form == "uint8"


_CELLS: dict[str, dict[str, tuple[Cell, ...]]] = {
    "cuda": {
        "conv": (Cell(64, 32), Cell(256, 16), Cell(1024, 8), Cell(1024, 8, "float32")),
        "large": (Cell(1, 16), Cell(8, 4), Cell(64, 2, alone_last=True), Cell(8, 4, "float32")),
    },
    "cpu": {"conv": (Cell(64, 4), Cell(64, 4, "float32")), "large": (Cell(2, 2),)},
}
_CLIENTS = {"cuda": 4, "cpu": 2}


class Subject:
    """A network behind our server and beside it, all of it started and warm."""

    def __init__(self, told: Told, network: str) -> None:
        self.network, self._told, self._stack = network, told, ExitStack()
        self.repository = bundles.repository(told, network)
        self.in_process: Child | None = None
        self.unbatched: Child | None = None
        self.raw_rows_per_s: dict[int, float] = {}
        self.raw_p50_ms: dict[int, float] = {}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        told, network, work = self._told, self.network, self._told.work
        device, enter = ("--device", told.device), self._stack.enter_context
        file = str(bundles.graph_file(told, network, "decoder"))
        self.raw = enter(child("raw", work / f"{network}-raw.log", *device, "--file", file))
        self._beside = ExitStack()
        enter(self._beside)
        if network not in _IN_PROCESS_LAST:
            self.start_in_process()
        rows = servers.MAX_BATCH_ROWS[network]
        log = work / f"{network}-server.log"
        self.server = self._beside.enter_context(servers.server(self.repository, told.device, log, rows))
        self.loads = [self._load(self.server.port, place) for place in range(_CLIENTS[told.device])]
        reply = work / f"{network}-reply"
        request = self.request(1, "uint8")
        self.ask(self.loads[0], do="prepare", file=request, at_once=1, keep=str(reply))
        _, port = enter(servers.echo(reply, work / f"{network}-echo.log"))
        self.echo = self._load(port, 99)
        self.ask(self.echo, do="prepare", file=request, at_once=1)
        if network not in _IN_PROCESS_LAST:  # nor for a third one
            port = enter(servers.unbatched(Path(file), told.device, work / f"{network}-unbatched.log"))
            self.unbatched = self._load(port, 98)
            self.ask(self.unbatched, do="prepare", file=request, at_once=1)
        warming = [child for child in (self.raw, self.in_process) if child]
        for other in warming:
            other.send(rows=1, seconds=0.0, at_once=1)  # that it is warm; a failure is heard of later
        for other in warming:
            try:
                other.answer(self._told.left_s())
            except ChildFailed as exc:
                print(f"{network}: {exc}", flush=True)

    def start_in_process(self) -> None:
        arguments = ("--device", self._told.device, "--repository", str(self.repository))
        log = self._told.work / f"{self.network}-in-process.log"
        started = child("in_process", log, *arguments, "--model", self.network)
        self.in_process = self._stack.enter_context(started)

    def close_servers(self) -> None:
        self._beside.close()

    def close(self) -> None:
        self._stack.close()

    def ask(self, whom: Child, **question: Any) -> dict[str, Any]:
        """Raises ChildFailed."""
        return whom.ask(self._told.left_s(), **question)

    def all(self, whom: list[Child], **question: Any) -> list[dict[str, Any]]:
        """Raises ChildFailed."""
        for one in whom:
            one.send(**question)
        return [one.answer(self._told.left_s()) for one in whom]

    def request(self, rows: int, form: str) -> str:
        file = self._told.work / f"{self.network}-{rows}-{form}"
        latents = servers.latents(self.repository, self.network, rows)
        file.write_bytes(servers.decode_request(self.network, latents, form))
        return str(file)

    def raw_cell(self, rows: int, seconds: float) -> None:
        """Raises ChildFailed."""
        if rows not in self.raw_rows_per_s:
            came = self.ask(self.raw, rows=rows, seconds=seconds)
            self.raw_rows_per_s[rows], self.raw_p50_ms[rows] = came["rows_per_s"], came["p50_ms"]

    def _load(self, port: int, place: int) -> Child:
        log = self._told.work / f"{self.network}-load-{place}.log"
        return self._stack.enter_context(child("load", log, "--port", str(port)))


def work(told: Told, record: Record) -> None:
    with ThreadPoolExecutor() as pool:
        started = {name: pool.submit(Subject, told, name) for name in _CELLS[told.device]}
        with ExitStack() as stack:
            subjects = list(_subjects(started, record, stack))
            seconds = max(_SHORTEST_S, min(_LONGEST_S, told.left_s() / _WINDOWS))
            if told.rehearsed:
                seconds = _SHORTEST_S
            for subject in subjects:
                _network(subject, told, record, seconds)
                subject.close()


def _subjects(started: dict[str, "Future[Subject]"], record: Record, stack: ExitStack) -> Iterator[Subject]:
    """All have been started, or have failed to, before the first is measured."""
    for name, future in started.items():
        try:
            subject = future.result()
        except Exception as exc:
            record.check(f"{name}: started", False, f"{type(exc).__name__}: {exc}"[-1500:], "a server")
        else:
            stack.callback(subject.close)
            yield subject


def _network(subject: Subject, told: Told, record: Record, seconds: float) -> None:
    cells = _CELLS[told.device][subject.network]
    _alone(subject, record, seconds)
    late: dict[Cell, float | None] = {}
    for cell in cells:
        if not cell.alone_last:
            _raw(subject, cell, record, seconds)
        rate = _served(subject, cell, record, seconds)
        if cell.alone_last:
            late[cell] = rate
        else:
            _compare(subject, cell, rate, record)
        if cell.form == "uint8" and subject.in_process:
            _without_grpc(subject, cell, record, seconds)
    subject.close_servers()
    for cell, rate in late.items():
        _raw(subject, cell, record, seconds)
        _compare(subject, cell, rate, record)
    if not subject.in_process:
        subject.start_in_process()
        for cell in cells:
            if cell.form == "uint8":
                _without_grpc(subject, cell, record, seconds)


def _raw(subject: Subject, cell: Cell, record: Record, seconds: float) -> None:
    try:
        subject.raw_cell(cell.rows, seconds)
    except ChildFailed as exc:
        record.missed(f"{subject.network} {cell.rows} rows in ONNX Runtime alone", str(exc))


def _alone(subject: Subject, record: Record, seconds: float) -> None:
    """One request of one row at a time."""
    name = subject.network
    try:
        subject.raw_cell(1, seconds)
        file = subject.request(1, "uint8")
        subject.ask(subject.loads[0], do="prepare", file=file, at_once=1)
        ours = subject.ask(subject.loads[0], do="go", seconds=seconds)
        bare = subject.ask(subject.echo, do="go", seconds=min(seconds, 1.0))
        least = subject.unbatched and subject.ask(subject.unbatched, do="go", seconds=seconds)
    except ChildFailed as exc:
        record.check(f"{name}: one row alone", False, str(exc), "a figure")
        return
    raw_ms = subject.raw_p50_ms[1]
    row = {"network": name, "p50_ms": ours["p50_ms"], "raw_p50_ms": raw_ms, "grpc_p50_ms": bare["p50_ms"]}
    row["unbatched_p50_ms"] = least and least["p50_ms"]
    record.row("alone", {**row, "calls": ours["calls"]})
    most = _OVERHEAD * (raw_ms + bare["p50_ms"])
    what = f"{name}: one row alone, median ms"
    record.judge_speed(what, ours["p50_ms"] <= most, round(ours["p50_ms"], 3), f"<= {most:.3f}")
    record.figure(f"{name} alone ms", round(ours["p50_ms"], 3))


def _served(subject: Subject, cell: Cell, record: Record, seconds: float) -> float | None:
    """Rows a second."""
    loads = subject.loads[: cell.at_once]
    file, each = subject.request(cell.rows, cell.form), cell.at_once // len(loads)
    try:
        subject.all(loads, do="prepare", file=file, at_once=each)
        before = subject.server.process.usage()
        came = subject.all(loads, do="go", seconds=seconds)
        after = subject.server.process.usage()
    except ChildFailed as exc:
        record.missed(f"{subject.network} {cell.rows} rows {cell.form}", str(exc))
        return None
    took = max(one["ended"] for one in came) - min(one["began"] for one in came)
    rate = float(sum(one["calls"] for one in came) * cell.rows / took)
    row = {
        "network": subject.network,
        "rows": cell.rows,
        "at_once": cell.at_once,
        "form": cell.form,
        "rows_per_s": rate,
        "p50_ms": max(one["p50_ms"] for one in came),
        "server_cpus": (after.cpu_s - before.cpu_s) / took,
        "clients_cpus": sum(one["cpu_s"] for one in came) / took,
        "busiest_client": max(one["cpu_s"] / (one["ended"] - one["began"]) for one in came),
        "server_mib": after.rss_mib,
    }
    record.row("served", row)
    return rate


def _without_grpc(subject: Subject, cell: Cell, record: Record, seconds: float) -> None:
    assert subject.in_process
    try:
        came = subject.ask(subject.in_process, rows=cell.rows, at_once=cell.at_once, seconds=seconds)
    except ChildFailed as exc:
        record.missed(f"{subject.network} {cell.rows} rows without gRPC", str(exc))
    else:
        raw = subject.raw_rows_per_s.get(cell.rows)
        row = {"network": subject.network, "rows": cell.rows, "at_once": cell.at_once, **came}
        record.row("without_grpc", row | {"of_raw": came["rows_per_s"] / raw if raw else None})


def _compare(subject: Subject, cell: Cell, rate: float | None, record: Record) -> None:
    """With the same batch; where ONNX Runtime cannot run it, with the best of those that it can."""
    raws = subject.raw_rows_per_s
    compared = cell.rows if cell.rows in raws else max(raws, key=lambda rows: raws[rows], default=0)
    what = f"{subject.network} {cell.rows} rows {cell.form}"
    if rate is None or not compared:
        if cell.is_judged:
            record.check(f"{what}: of ONNX Runtime alone", False, "not measured", f">= {_ENOUGH}")
        return
    ratio = rate / raws[compared]
    row = {"what": what, "rows_per_s": rate, "raw_rows_per_s": raws[compared], "raw_rows": compared}
    record.row("ratios", row | {"ratio": ratio})
    if cell.is_judged:
        came = f"{ratio:.3f} ({rate:,.0f} of {raws[compared]:,.0f} rows/s at {compared})"
        record.judge_speed(f"{what}: of ONNX Runtime alone", ratio >= _ENOUGH, came, f">= {_ENOUGH}")
    record.figure(f"{what} of raw", round(ratio, 3))


if __name__ == "__main__":
    step.main("served", work)
