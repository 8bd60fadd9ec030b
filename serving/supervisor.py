"""Several server processes on one port, for hosts where one Python process is the limit.

The supervisor imports neither gRPC nor ONNX Runtime. It reserves the port, spawns the workers, which share
it by SO_REUSEPORT, restarts one that dies, merges their metrics, and drains them all on SIGTERM.
"""

import logging
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from prometheus_client import CollectorRegistry

from serving import logs
from serving.aggregation import WorkerMetrics
from serving.errors import StartupError
from serving.exposition import metrics_server
from serving.settings import Settings

log = logging.getLogger(__name__)

_START_S = 300.0
"""Seconds a worker may take to load its models."""
_RESTART_PAUSE_S = 1.0
"""Between the death of a worker and its successor, so that a worker that cannot live does not spin."""
_POLL_S = 0.2


@dataclass
class _Worker:
    process: BaseProcess
    metrics_address: str
    lifeline: Connection
    """Held open as long as the supervisor lives; its end tells the worker to stop."""


def supervise(settings: Settings) -> int:
    """Run ``settings.workers`` servers until SIGTERM or SIGINT; returns the exit code.

    Raises:
        StartupError: the port is taken, or a worker did not start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        address = stack.enter_context(_reserved(settings.address))
        own = settings.model_copy(update={"address": address, "metrics_address": "127.0.0.1:0"})
        workers: list[_Worker] = []
        try:
            for _ in range(settings.workers):
                workers.append(_start(own, stop))
            metrics_address = stack.enter_context(_metrics(settings, workers))
            # Scripts read this line to learn the ports.
            print(f"vaeserve ready: grpc={address} metrics={metrics_address}", flush=True)  # noqa: T201
            _keep_alive(workers, own, stop)
        finally:
            codes = _drain(workers)
    log.info("all workers stopped: exit codes %s", codes)
    return 0 if not any(codes) else 1


def _start(settings: Settings, stop: threading.Event) -> _Worker:
    """Spawn a worker and wait until it serves."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(settings, there), name="vaeserve-worker")
    process.start()
    there.close()
    end = time.monotonic() + _START_S
    while time.monotonic() < end and not stop.is_set():
        if here.poll(_POLL_S):
            try:
                return _Worker(process, here.recv(), here)
            except EOFError:
                break
    process.terminate()
    process.join()
    raise StartupError("a worker did not start; its own message is above")


def _work(settings: Settings, parent: Connection) -> None:
    """The body of a worker process."""
    import asyncio
    import sys

    from serving import event_loop
    from serving.server import Running, serve

    logs.configure(settings.log_format, settings.log_level)

    def ready(server: Running) -> None:
        parent.send(server.metrics_address)
        # The supervisor sends nothing: what can be read is the end of it, however it came.
        asyncio.get_running_loop().add_reader(parent.fileno(), _follow)

    def _follow() -> None:
        asyncio.get_running_loop().remove_reader(parent.fileno())
        signal.raise_signal(signal.SIGTERM)

    try:
        event_loop.run(serve(settings, ready))
    except StartupError as exc:
        print(f"vae-serve: error: {exc}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def _keep_alive(workers: list[_Worker], settings: Settings, stop: threading.Event) -> None:
    while not stop.is_set():
        wait([worker.process.sentinel for worker in workers], timeout=_POLL_S)
        for index, worker in enumerate(workers):
            if worker.process.is_alive() or stop.is_set():
                continue
            log.error("worker %d ended with exit code %s; restarting it", index, worker.process.exitcode)
            stop.wait(_RESTART_PAUSE_S)
            try:
                workers[index] = _start(settings, stop)
            except StartupError as exc:  # tried again at the next look
                if not stop.is_set():
                    log.error("worker %d: %s", index, exc)


def _drain(workers: list[_Worker]) -> list[int | None]:
    """Stop those that live; their exit codes."""
    alive = [worker.process for worker in workers if worker.process.is_alive()]
    for process in alive:
        process.terminate()
    for process in alive:
        process.join()
    return [process.exitcode for process in alive]


@contextmanager
def _reserved(address: str) -> Iterator[str]:
    """Hold the port for the workers without listening on it; yields the address with its real port."""
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    with ExitStack() as stack:
        try:
            # Without SO_REUSEPORT first: a port that another server shares out is taken.
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((bare, int(port)))
                port = str(probe.getsockname()[1])
            held = stack.enter_context(socket.socket(family))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((bare, int(port)))
        except (OSError, OverflowError):
            raise StartupError(f"--address {address}: cannot listen there; is the port taken?") from None
        yield f"{host}:{port}"


@contextmanager
def _metrics(settings: Settings, workers: list[_Worker]) -> Iterator[str]:
    registry = CollectorRegistry()
    WorkerMetrics(lambda: [worker.metrics_address for worker in workers], registry)
    with metrics_server(settings.metrics_address, registry) as address:
        yield address
