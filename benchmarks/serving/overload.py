"""More than a server can do, offered at a fixed rate: ``python -m benchmarks.serving.overload``.

Each cell is a fresh server: its capacity in a closed loop, then so many times that rate in an open loop from
rude callers (``open_loop.c``), then how soon it answers a call again, and the capacity once more. Capacity
before and after are of the same minute, so the host's moods cancel out of the share of it that is kept.

With ``--apart`` the server has one half of the CPUs and its callers have the other, as on machines of their
own: without it, what ten times the capacity costs those who send it is missing to the server.
"""

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import grpc

from benchmarks.serving import h2load, machine, models, overload_peer
from benchmarks.serving.metrics_page import Page, refused_p99_ms
from benchmarks.serving.overload_cell import DEADLINE_S, OK, Cell, Outcome
from benchmarks.serving.processes import ServerProcess, on_cpus
from benchmarks.serving.protocols import VaeV1, grpc_call
from benchmarks.serving.servers import Vaeserve, vaeserve
from benchmarks.serving.workloads import Case, Workload
from serving.pb.vae.v1 import vae_service_pb2 as pb

_SOURCE = Path(__file__).with_name("open_loop.c")
_FACTORS = (1.2, 2.0, 4.0, 10.0)
_CONNECTIONS = (1, 200)
_ROWS = (1, 512)
_AT_ONCE = {1: 64, 512: 16}
_TAIL_S = 20.0
_SAMPLE_S = 0.05
_GIVE_UP_S = 60.0


def main() -> int:
    options = _options()
    cells = [Cell(*some) for some in itertools.product(*_dimensions(options))]
    with tempfile.TemporaryDirectory(prefix="vae-overload-") as name:
        folder = Path(name)
        repository = models.make_repository(folder / "models")
        generator = folder / "open_loop"
        subprocess.run(["cc", "-O2", "-o", generator, _SOURCE], check=True)
        outcomes, peers = [], []
        for cell in cells:
            outcomes.append(_measure(cell, repository, generator, folder, options))
            print(outcomes[-1], flush=True)
            if options.peer and cell.connections == max(options.connections) and not cell.deadline:
                case = _case(cell.rows, "Decode", repository)
                halves = _halves(options.apart)
                peers.append(overload_peer.measure(case, cell.factor, folder, options.peer_seconds, halves))
                print(peers[-1], flush=True)
    short = sum(bool(outcome.shortfalls()) for outcome in outcomes)
    print(f"{len(outcomes) - short} of {len(outcomes)} cells pass")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": machine.describe(),
        "seconds": options.seconds,
        "flags": options.flags,
        "apart": options.apart,
        "cells": [{**asdict(one), "kept": round(one.kept, 3), "short": one.shortfalls()} for one in outcomes],
        "mosec": [asdict(peer) for peer in peers],
    }
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    print(f"written to {options.output}")
    return 0


def _measure(
    cell: Cell, repository: Path, generator: Path, folder: Path, options: argparse.Namespace
) -> Outcome:
    case = _case(cell.rows, "Sample", repository)
    wire = VaeV1()
    body = folder / "body"
    body.write_bytes(wire.body(case))
    with contextlib.ExitStack() as stack:
        own, callers = _halves(options.apart)
        with on_cpus(own):
            server = stack.enter_context(vaeserve(repository, folder / "log", *options.flags))
        stack.enter_context(on_cpus(callers))
        before = _capacity(server, case, options.capacity_seconds)
        idle_mib, page = server.process.usage().rss_mib, Page.of(server.metrics_port)
        with _memory(server.process) as peak:
            load, recovery_s = _load(
                generator, server, wire.path(case.workload), body, cell, before, options.seconds
            )
        changed = Page.of(server.metrics_port) - page
        after = _capacity(server, case, options.capacity_seconds)
    answered = load["codes"].get(OK, {}).get("in_time", 0) / options.seconds
    due = before * cell.factor * options.seconds
    return Outcome(
        cell=cell,
        capacity=(before, after),
        answered_per_s=answered,
        sent=load["sent"],
        held_back=load["held_back"],
        offered=(load["sent"] + load["held_back"]) / due,
        codes=load["codes"],
        counted=changed.calls("Sample"),
        rejected=changed.rejections(),
        refused_p99_ms=refused_p99_ms(changed) if "calls" in changed.rejections() else None,
        idle_mib=idle_mib,
        peak_mib=max(peak),
        recovery_s=recovery_s,
    )


def _halves(apart: bool) -> tuple[set[int], set[int]]:
    """The CPUs of the server, and of all else."""
    available = sorted(os.sched_getaffinity(0))
    half = len(available) // 2 if apart else 0
    return set(available[half:]), set(available[:half] or available)


def _case(rows: int, method: Literal["Decode", "Sample"], repository: Path) -> Case:
    return Case(Workload("overload", "mlp", method, rows, _AT_ONCE[rows]), repository)


def _capacity(server: Vaeserve, case: Case, seconds: float) -> float:
    wire = VaeV1()
    target = h2load.Target(
        port=server.port,
        path=wire.path(case.workload),
        body=wire.body(case),
        reply_bytes=wire.reply_bytes(server.port, case),
        http1=False,
        at_once=case.workload.at_once,
    )
    load, _, _ = h2load.generate(target, 0.5, seconds, lambda: None)
    return len(load.latencies_ms) / load.seconds


def _load(
    generator: Path, server: Vaeserve, path: str, body: Path, cell: Cell, capacity: float, seconds: float
) -> tuple[dict[str, Any], float]:
    """What the generator saw, and how long after its load the server answered others."""
    timeout_ms = DEADLINE_S * 1000 if cell.deadline else 0
    words = [server.port, path, body, capacity * cell.factor, seconds, timeout_ms, cell.connections, _TAIL_S]
    command = [str(generator), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        if process.stderr.readline() != "ended\n":
            raise ChildProcessError(f"{generator}: {process.communicate()[1]}")
        recovery_s = _recovery(server)
        printed, _ = process.communicate(timeout=3 * _TAIL_S)
    found: dict[str, Any] = json.loads(printed)
    return found, recovery_s


@contextlib.contextmanager
def _memory(process: ServerProcess) -> Iterator[list[float]]:
    """Resident MiB, read all the while."""
    seen, ended = [process.usage().rss_mib], threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            seen.append(process.usage().rss_mib)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def _recovery(server: Vaeserve) -> float:
    """Asked by another method, which is counted apart."""
    started = time.monotonic()
    message = pb.GetModelRequest(model={"name": "mlp"}).SerializeToString()
    while time.monotonic() - started < _GIVE_UP_S:
        with contextlib.suppress(grpc.RpcError, grpc.FutureTimeoutError):
            grpc_call(server.port, "/vae.v1.VaeService/GetModel", message, timeout_s=1.0)
            break
    return time.monotonic() - started


def _dimensions(options: argparse.Namespace) -> tuple[list[Any], ...]:
    deadlines = {"both": [False, True], "with": [True], "without": [False]}[options.deadlines]
    return options.rows, options.factors, deadlines, options.connections


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of load in a cell (60)")
    parser.add_argument("--capacity-seconds", type=float, default=5.0)
    parser.add_argument("--rows", type=int, nargs="+", choices=_ROWS, default=list(_ROWS))
    parser.add_argument("--factors", type=float, nargs="+", default=list(_FACTORS))
    parser.add_argument("--connections", type=int, nargs="+", default=list(_CONNECTIONS))
    parser.add_argument("--deadlines", choices=("both", "with", "without"), default="both")
    parser.add_argument("--peer", action="store_true", help="mosec beside it (make bench-peers installs it)")
    parser.add_argument("--peer-seconds", type=float, default=20.0, help="of load on it (20)")
    parser.add_argument("--apart", action="store_true", help="server and callers on CPUs of their own")
    parser.add_argument("--flags", nargs="+", default=[], help="of vae-serve: --flags=--max-streams=10")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/overload.json"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
