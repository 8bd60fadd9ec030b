"""The servers that are measured: how each is started, spoken to and read."""

import contextlib
import http.client
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc
import numpy as np

from benchmarks.serving import h2load
from benchmarks.serving.processes import ServerProcess, busy_seconds, free_port, running, wait_for_port
from benchmarks.serving.protocols import VaeHttp, VaeV1, Wire
from benchmarks.serving.records import Measurement
from benchmarks.serving.workloads import Case, Workload
from serving.host.cpus import available_cpus

_START_S = 60.0
_WORKERS = f"--workers={available_cpus()}"


@dataclass(frozen=True)
class Setting:
    """What a server is started with; ``folder`` is its own to write in."""

    case: Case
    folder: Path
    loop: str
    reply: Path
    """A whole reply to the case, for the servers that always give the same."""


class Subject(Protocol):
    """A server under one workload, ready to be measured."""

    def measure(self, warm_up_s: float, seconds: float) -> Measurement: ...


class Server(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def peer(self) -> bool: ...

    def fits(self, workload: Workload) -> bool: ...

    def start(self, setting: Setting) -> contextlib.AbstractContextManager[Subject]:
        """Started, warm and checked for right answers."""


@dataclass(frozen=True)
class Loaded:
    """A server in a process of its own, under h2load."""

    process: ServerProcess
    target: h2load.Target

    def measure(self, warm_up_s: float, seconds: float) -> Measurement:
        load, (first, busy), (last, busy_end) = h2load.generate(
            self.target, warm_up_s, seconds, lambda: (self.process.usage(), busy_seconds())
        )
        cpu_s = last.cpu_s - first.cpu_s
        p50, p99 = np.percentile(load.latencies_ms, (50, 99))
        return Measurement(
            requests=len(load.latencies_ms),
            seconds=load.seconds,
            p50_ms=float(p50),
            p99_ms=float(p99),
            cpu_s=cpu_s,
            rss_mib=last.rss_mib,
            foreign_cpus=(busy_end - busy - cpu_s - load.cpu_s) / load.seconds,
        )


@dataclass(frozen=True)
class Command:
    """A server that is a command: ``command(setting, port)``."""

    name: str
    command: Callable[[Setting, int], list[str]]
    wire: Wire
    peer: bool = False

    def fits(self, workload: Workload) -> bool:
        return workload.tensors_only or not self.peer

    @contextlib.contextmanager
    def start(self, setting: Setting) -> Iterator[Loaded]:
        port = free_port()
        log = setting.folder / f"{self.name}.log"
        with running(self.command(setting, port), log) as process:
            wait_for_port(process, port, _START_S)
            reply_bytes = self._first_answer(process, port, setting.case)
            workload = setting.case.workload
            yield Loaded(
                process,
                h2load.Target(
                    port=port,
                    path=self.wire.path(workload),
                    body=self.wire.body(setting.case),
                    reply_bytes=reply_bytes,
                    http1=self.wire.http1,
                    at_once=workload.at_once,
                    media_type=self.wire.media_type,
                ),
            )

    def _first_answer(self, process: ServerProcess, port: int, case: Case) -> int:
        """Some servers listen before their model is loaded."""
        end = time.monotonic() + _START_S
        while True:
            try:
                return self.wire.reply_bytes(port, case)
            except (grpc.RpcError, grpc.FutureTimeoutError, http.client.HTTPException, OSError) as exc:
                if process.process.poll() is not None or time.monotonic() > end:
                    raise ChildProcessError(f"{exc}\n{process.last_words()}") from exc
                time.sleep(0.2)


@dataclass(frozen=True)
class RawOrt:
    """ONNX Runtime in process: what no server can exceed without larger batches."""

    name: str = "raw_ort"
    peer: bool = False

    def fits(self, workload: Workload) -> bool:
        return workload.tensors_only

    @contextlib.contextmanager
    def start(self, setting: Setting) -> Iterator["RawSubject"]:
        inputs = setting.folder / "inputs.npy"
        np.save(inputs, setting.case.inputs)
        yield RawSubject(setting.case, inputs)


@dataclass(frozen=True)
class RawSubject:
    case: Case
    inputs: Path

    def measure(self, warm_up_s: float, seconds: float) -> Measurement:
        command = [
            *_python("benchmarks.serving.raw"),
            f"--graph={self.case.graph_file}",
            f"--inputs={self.inputs}",
            f"--at-once={self.case.workload.at_once}",
            f"--warm-up={warm_up_s}",
            f"--seconds={seconds}",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy, started = busy_seconds(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        foreign_cpus = (busy_seconds() - busy - used) / (time.perf_counter() - started)
        return Measurement(**json.loads(done.stdout), foreign_cpus=foreign_cpus)


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", module]


def _ours(*flags: str, by_http: bool = False) -> Callable[[Setting, int], list[str]]:
    def command(setting: Setting, port: int) -> list[str]:
        ports = (free_port(), free_port(), port) if by_http else (port, free_port())
        return [*_vaeserve(setting.case.repository, *ports), *flags]

    return command


def _vaeserve(repository: Path, port: int, metrics_port: int, http_port: int | None = None) -> list[str]:
    """With default settings: only addresses and the repository are given."""
    return [
        *_python("serving"),
        f"--repository={repository}",
        f"--address=127.0.0.1:{port}",
        f"--http-address=127.0.0.1:{http_port or free_port()}",
        f"--metrics-address=127.0.0.1:{metrics_port}",
    ]


@dataclass(frozen=True)
class Vaeserve:
    process: ServerProcess
    port: int
    http_port: int
    metrics_port: int


@contextlib.contextmanager
def vaeserve(repository: Path, log: Path, *flags: str, start_s: float = _START_S) -> Iterator[Vaeserve]:
    """Ours, listening and warm: it binds its port after its models are loaded."""
    port, http_port, metrics_port = free_port(), free_port(), free_port()
    with running([*_vaeserve(repository, port, metrics_port, http_port), *flags], log) as process:
        wait_for_port(process, port, start_s)
        wait_for_port(process, http_port, start_s)
        yield Vaeserve(process, port, http_port, metrics_port)


def event_loop(repository: Path, log: Path) -> str:
    """The event loop that vaeserve runs on here, seen in what its process has loaded."""
    with vaeserve(repository, log) as server:
        return "uvloop" if server.process.loaded("uvloop") else "asyncio"


def _bare(style: str) -> Callable[[Setting, int], list[str]]:
    def command(setting: Setting, port: int) -> list[str]:
        return [
            *_python("benchmarks.serving.bare"),
            f"--style={style}",
            f"--loop={setting.loop}",
            f"--port={port}",
            f"--repository={setting.case.repository}",
        ]

    return command


def _echo(style: str) -> Callable[[Setting, int], list[str]]:
    def command(setting: Setting, port: int) -> list[str]:
        return [
            *_python("benchmarks.serving.bare"),
            f"--style={style}",
            f"--loop={setting.loop}",
            f"--port={port}",
            f"--reply={setting.reply}",
        ]

    return command


OWN: tuple[Server, ...] = (
    Command("vaeserve", _ours(), VaeV1()),
    Command("vaeserve_http", _ours(by_http=True), VaeHttp()),
    Command("vaeserve_workers", _ours(_WORKERS), VaeV1()),
    Command("vaeserve_http_workers", _ours(_WORKERS, by_http=True), VaeHttp()),
    Command("echo_aio", _echo("aio"), VaeV1(checked=False)),
    Command("echo_sync", _echo("sync"), VaeV1(checked=False)),
    Command("bare_aio", _bare("aio"), VaeV1()),
    Command("bare_sync", _bare("sync"), VaeV1()),
    RawOrt(),
)
"""All but the peers."""
