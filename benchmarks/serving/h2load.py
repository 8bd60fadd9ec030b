"""The load generator: nghttp2's h2load, a closed loop of requests that costs little beside a server.

It counts HTTP statuses only; gRPC's errors travel in trailers under status 200. An error has no body,
so the size of all bodies tells whether every reply was a whole one.
"""

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.processes import cpu_seconds

CONNECTIONS = 8
"""HTTP/2 connections at most; more requests at once share them, as the calls of one gRPC channel do."""
_COLUMNS = ("start_us", "status", "duration_us")
_TAIL_S = 0.3
"""h2load runs on for this long after the last reading, so that the readings are of a steady state."""

T = TypeVar("T")


class LoadFailed(Exception):
    """Requests that got no whole reply."""


@dataclass(frozen=True)
class Target:
    port: int
    path: str
    body: bytes
    reply_bytes: int
    http1: bool
    at_once: int
    media_type: str | None = "application/grpc"
    per_s: int | None = None
    """Requests started a second, at most ``at_once`` at a time; None for a closed loop."""

    @property
    def connections(self) -> int:
        """HTTP/1.1 has one request in flight a connection. At a fixed rate there is one connection,
        because the timers of several would fire together."""
        if self.per_s is not None:
            return 1
        return self.at_once if self.http1 else min(self.at_once, CONNECTIONS)


@dataclass(frozen=True)
class Load:
    """What happened between two readings."""

    seconds: float
    cpu_s: float
    """Of h2load itself."""
    latencies_ms: NDArray[np.float64]
    """Of every request that ended in the meantime."""


def generate(target: Target, warm_up_s: float, seconds: float, read: Callable[[], T]) -> tuple[Load, T, T]:
    """Load the server; ``read`` is called after the warm-up and again ``seconds`` later.

    Raises:
        LoadFailed: h2load failed, a status was not 200, or replies were too short.
    """
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(target.body)
        command = _command(target, body, log, warm_up_s + seconds + _TAIL_S)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            time.sleep(warm_up_s)
            begin, first, cpu_s = time.time(), read(), cpu_seconds(process.pid)
            time.sleep(seconds)
            end, last, cpu_s = time.time(), read(), cpu_seconds(process.pid) - cpu_s
            output, _ = process.communicate(timeout=seconds + 30)
        finally:
            process.kill()
        if process.returncode:
            raise LoadFailed(f"h2load ended with exit code {process.returncode}: {output[-300:]}")
        text = log.read_text() if log.exists() else ""
    found = latencies(text, output, target.reply_bytes, begin, end)
    return Load(end - begin, cpu_s, found), first, last


def latencies(log: str, output: str, reply_bytes: int, begin: float, end: float) -> NDArray[np.float64]:
    """Milliseconds of the requests that ended between two times (seconds since the epoch).

    Args:
        log: what ``--log-file`` wrote: start in µs since the epoch, status, duration in µs.
        output: what h2load printed.
        reply_bytes: size of one whole reply.
    """
    start, status, duration = np.array(log.split(), np.int64).reshape(-1, len(_COLUMNS)).T
    ended = (start + duration) / 1e6
    measured = (ended >= begin) & (ended < end)
    wrong = status[(status != 200) & (ended < end)]
    if wrong.size or not measured.any():
        raise LoadFailed(f"want HTTP status 200, came {wrong[0] if wrong.size else 'no reply at all'}")
    replies, came = int((status == 200).sum()), body_bytes(output)
    # Replies on their way when h2load stops are counted in part, so it may only be more.
    if came < replies * reply_bytes:
        raise LoadFailed(
            f"want {replies} replies of {reply_bytes} bytes, came {came / replies:.0f} bytes each: "
            "some calls failed"
        )
    return duration[measured] / 1e3


def body_bytes(output: str) -> int:
    """Bytes of all bodies, from the line ``traffic: …, 1.2MB (1258291) data``."""
    found = re.search(r"^traffic: .*\((\d+)\) data", output, re.MULTILINE)
    if not found:
        raise LoadFailed(f"h2load did not say how much came: {output[-300:]}")
    return int(found[1])


def _command(target: Target, body: Path, log: Path, seconds: float) -> list[str]:
    headers = ["user-agent: h2load"]
    if target.media_type:
        headers.append(f"content-type: {target.media_type}")
    if target.media_type == "application/grpc":
        headers.append("te: trailers")
    return [
        "h2load",
        "--threads=1",
        f"--clients={target.connections}",
        f"--max-concurrent-streams={target.at_once // target.connections}",
        f"--duration={round(seconds * 1000)}ms",
        f"--data={body}",
        f"--log-file={log}",
        *([] if target.per_s is None else [f"--rps={target.per_s}"]),
        *(["--h1"] if target.http1 else []),
        *(word for header in headers for word in ("-H", header)),
        f"http://127.0.0.1:{target.port}{target.path}",
    ]
