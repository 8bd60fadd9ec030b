"""Several server processes on one port, for hosts where one Python process is the limit.

The supervisor imports neither gRPC nor ONNX Runtime. It reserves the port, spawns the workers, which share
it by SO_REUSEPORT, restarts one that dies, joins their pages of metrics, and drains them all on SIGTERM.

A connection stays with the worker that took it. Workers that have loaded their models wait for the others
before they listen: a client that connects early would otherwise find one worker, and load it alone for good.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from serving.errors import StartupError
from serving.host import logs
from serving.host.sockets import parse
from serving.metrics.endpoint import metrics_server
from serving.metrics.worker_pages import joined_pages
from serving.settings import Settings

log = logging.getLogger(__name__)

_START_S = 300.0
"""Seconds a worker may take to load its models."""
_RESTART_PAUSE_S = 1.0
"""Between the death of a worker and its successor, so that a worker that cannot live does not spin."""
_POLL_S = 0.2
_LOADED, _LISTEN = "loaded", "listen"
"""What a worker and the supervisor tell each other before the port opens."""


@dataclass
class _Worker:
    process: BaseProcess
    lifeline: Connection
    """Held open as long as the supervisor lives; its end tells the worker to stop."""
    metrics_address: str = ""
    """Known once it serves."""


def supervise(settings: Settings) -> int:
    """Run ``settings.workers`` servers until SIGTERM or SIGINT; returns the exit code.

    Raises:
        StartupError: the port is taken, or a worker did not start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _be_somewhere()
    with ExitStack() as stack:
        address = stack.enter_context(_reserved("address", settings.address))
        http_address = ""
        if settings.http_address:
            http_address = stack.enter_context(_reserved("http-address", settings.http_address))
        ports = {"address": address, "http_address": http_address, "metrics_address": "127.0.0.1:0"}
        own = settings.model_copy(update=ports)
        workers: list[_Worker] = []
        try:
            try:
                workers += _start(own, range(settings.workers), stop)
            except StartupError:
                if stop.is_set():  # before it served
                    return 0
                raise
            pages = joined_pages(lambda: [worker.metrics_address for worker in workers])
            metrics_address = stack.enter_context(metrics_server(settings.metrics_address, pages))
            logs.say_ready(address, http_address, metrics_address)
            _keep_alive(workers, own, stop)
        finally:
            codes = _drain(workers)
    log.info("all workers stopped: exit codes %s", codes)
    return 0 if not any(codes) else 1


def _be_somewhere() -> None:
    """A process whose working directory was deleted cannot start others."""
    try:
        os.getcwd()
    except FileNotFoundError:
        os.chdir("/")


def _start(settings: Settings, numbers: Sequence[int], stop: threading.Event) -> list[_Worker]:
    """Spawn workers and wait until they serve."""
    workers = [_spawn(settings, number) for number in numbers]
    end = time.monotonic() + _START_S
    try:
        for worker in workers:
            _hear(worker, end, stop)  # its models are loaded
        for worker in workers:
            worker.lifeline.send(_LISTEN)
        for worker in workers:
            worker.metrics_address = _hear(worker, end, stop)
    except (EOFError, OSError):  # one of them has ended, or will not start
        _drain(workers)
        raise StartupError("a worker did not start; its own message is above") from None
    return workers


def _spawn(settings: Settings, number: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(settings, number, there), name="vaeserve-worker")
    process.start()
    there.close()
    return _Worker(process, here)


def _hear(worker: _Worker, end: float, stop: threading.Event) -> str:
    """What the worker says next. Raises EOFError if it ended, TimeoutError if it says nothing in time."""
    while not worker.lifeline.poll(_POLL_S):
        if stop.is_set() or time.monotonic() > end:
            raise TimeoutError
    return str(worker.lifeline.recv())


def _work(settings: Settings, number: int, parent: Connection) -> None:
    """The body of a worker process."""
    import asyncio
    import sys

    from serving.host import event_loop
    from serving.host.abandonable import leave
    from serving.server import Running, serve

    logs.configure(settings.log_format, settings.log_level)

    async def may_listen() -> None:
        parent.send(_LOADED)
        told = asyncio.Event()
        asyncio.get_running_loop().add_reader(parent.fileno(), told.set)
        await told.wait()
        asyncio.get_running_loop().remove_reader(parent.fileno())
        try:
            parent.recv()
        except EOFError:
            raise StartupError("the server is stopping") from None

    def ready(server: Running) -> None:
        parent.send(server.metrics_address)
        # The supervisor says no more: what can be read is the end of it, however it came.
        asyncio.get_running_loop().add_reader(parent.fileno(), _follow)

    def _follow() -> None:
        asyncio.get_running_loop().remove_reader(parent.fileno())
        signal.raise_signal(signal.SIGTERM)

    try:
        event_loop.run(serve(settings, ready, may_listen, worker=number))
    except StartupError as exc:
        print(f"vae-serve: error: {exc}", file=sys.stderr)  # noqa: T201
        leave(2)
        sys.exit(2)
    leave(0)


def _keep_alive(workers: list[_Worker], settings: Settings, stop: threading.Event) -> None:
    while not stop.is_set():
        wait([worker.process.sentinel for worker in workers], timeout=_POLL_S)
        for index, worker in enumerate(workers):
            if worker.process.is_alive() or stop.is_set():
                continue
            log.error("worker %d ended with exit code %s; restarting it", index, worker.process.exitcode)
            stop.wait(_RESTART_PAUSE_S)
            try:
                workers[index : index + 1] = _start(settings, [index], stop)
            except StartupError as exc:  # tried again at the next look
                if not stop.is_set():
                    log.error("worker %d: %s", index, exc)


def _drain(workers: list[_Worker]) -> list[int | None]:
    """Stop those that live; their exit codes."""
    alive = [worker.process for worker in workers if worker.process.is_alive()]
    for worker in workers:
        worker.lifeline.close()  # ends one that waits to listen
    for process in alive:
        process.terminate()
    for process in alive:
        process.join()
    return [process.exitcode for process in alive]


@contextmanager
def _reserved(flag: str, address: str) -> Iterator[str]:
    """Hold the port for the workers without listening on it; yields the address with its real port."""
    host = address.rpartition(":")[0]
    bare, port = parse(address)
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    with ExitStack() as stack:
        try:
            # Without SO_REUSEPORT first: a port that another server shares out is taken.
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((bare, port))
                port = probe.getsockname()[1]
            held = stack.enter_context(socket.socket(family))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((bare, port))
        except OSError as exc:
            raise StartupError(
                f"--{flag} {address}: cannot listen there; is the port taken? ({exc.strerror})"
            ) from None
        yield f"{host}:{port}"
