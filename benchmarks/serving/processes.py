"""A server as a process group of its own, with the CPU time and memory of all its processes."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STOP_S = 20.0
_LOG_LINES = 30


@dataclass(frozen=True)
class Usage:
    cpu_s: float
    """CPU seconds since the start, of living processes and of those they waited for."""
    rss_mib: float
    """Resident memory, summed over the processes."""


@dataclass(frozen=True)
class ServerProcess:
    process: subprocess.Popen[bytes]
    log: Path

    def usage(self) -> Usage:
        cpu_s, pages = 0.0, 0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it may have ended since
                cpu_s += cpu_seconds(pid)
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Usage(cpu_s, pages * _PAGE / 2**20)

    def pids(self) -> set[int]:
        """The process, its descendants and whatever else is in its session."""
        root = self.process.pid
        parents, found = {}, {root}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    _, parent, _, session, *_ = _stat(int(entry.name))
                    parents[int(entry.name)] = int(parent)
                    if int(session) == root:
                        found.add(int(entry.name))
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        return found

    def loaded(self, library: str) -> bool:
        """Whether one of the processes has a shared library with this in its path."""
        return any(library in Path(f"/proc/{pid}/maps").read_text() for pid in self.pids())

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-_LOG_LINES:]) or "(it printed nothing)"

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left of the tree."""
        pids = self.pids()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        for pid in pids | self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[ServerProcess]:
    """Start a server, its output in ``log``; it is stopped whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
    server = ServerProcess(process, log)
    try:
        yield server
    finally:
        server.stop()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children it waited for."""
    return sum(map(int, _stat(pid)[11:15])) / _TICKS_PER_S


def busy_seconds() -> float:
    """CPU seconds that all CPUs worked since boot, or were taken away by the hypervisor."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(server: ServerProcess, port: int, timeout_s: float) -> None:
    """Raises TimeoutError or ChildProcessError with the server's last words."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if server.process.poll() is not None:
            code = server.process.returncode
            raise ChildProcessError(f"ended with exit code {code}:\n{server.last_words()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"does not listen after {timeout_s:g} s:\n{server.last_words()}")


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command's name: state, ppid, pgrp, session, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
