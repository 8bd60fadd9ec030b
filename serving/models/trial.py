"""Loading within bounds of time and memory.

ONNX Runtime cannot be stopped: a graph without an end keeps its thread, one that allocates takes the memory
of the server. So a version is loaded in a process of its own first, which is killed when it goes beyond a
bound; what that process could load, the server loads itself. Where nothing is served yet and nothing else
could be, the server loads it at once: there is nothing to lose.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from serving.bundle import BundleError, UnreadableBundle
from serving.host.abandonable import abandonable
from serving.host.memory import private_bytes
from serving.models.loading import load, read_version
from serving.models.refusals import lies_in_the_files, said_of
from serving.runtime.providers import ORT_NAMES, Provider, choose

T = TypeVar("T")

_LOOK_S = 0.02
"""Between two looks at the memory: some tens of MiB are touched in it."""
_LATE_S = 5.0
"""After which the tried process ends itself, if the server is not there to do it."""
_CODE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Bounds:
    timeout_s: float
    memory_bytes: int


async def within(bounds: Bounds, work: Callable[[], T]) -> T:
    """``work`` in this process; beyond a bound it is left behind, and the process had better end.

    Raises:
        UnreadableBundle: beyond a bound. Another time the machine may be less busy.
    """
    before = private_bytes()
    return await _watched(bounds, work, lambda: private_bytes() - before)


@dataclass(frozen=True)
class Tried:
    """What could be loaded."""

    digest: str
    memory_bytes: int
    """As ``Loaded`` has it; on a GPU with what a process by itself takes there."""


async def try_out(path: Path, provider: Provider, max_batch_rows: int, bounds: Bounds) -> Tried:
    """Load the version in a process of its own.

    Raises:
        BundleError: the version must not be served, or it crashes.
        UnreadableBundle: it went beyond a bound, or what failed does not lie in its files.
    """
    process = _start(path, provider, max_batch_rows, bounds)
    try:
        said, _ = await _watched(bounds, process.communicate, lambda: private_bytes(process.pid))
    finally:
        process.kill()  # nothing, if it has ended; the thread that waits for it sees its end
    if process.returncode:
        raise _crash(process.returncode)
    answer = json.loads(said)
    if "digest" in answer:
        return Tried(**answer)
    raise (BundleError if answer["final"] else UnreadableBundle)(answer["reason"], answer["inside"])


def _start(path: Path, provider: Provider, max_batch_rows: int, bounds: Bounds) -> "subprocess.Popen[bytes]":
    """``main`` in a process that shares nothing with this one: a fork would take gRPC's locks along."""
    latest_s = bounds.timeout_s + _LATE_S
    given = provider.memory_bytes or 0, provider.engines or ""
    arguments = [path.absolute(), provider.name, *given, max_batch_rows, bounds.memory_bytes, latest_s]
    return subprocess.Popen(
        [sys.executable, "-P", "-m", __name__, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_CODE), *filter(os.path.isabs, sys.path)])},
    )


async def _watched(bounds: Bounds, work: Callable[[], T], memory_bytes: Callable[[], int]) -> T:
    task = asyncio.ensure_future(abandonable(work))
    end = time.monotonic() + bounds.timeout_s
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_S))[0]:
            if time.monotonic() > end:
                raise UnreadableBundle(f"it takes more than {bounds.timeout_s:g} s to load; --load-timeout-s")
            if memory_bytes() > bounds.memory_bytes:
                most = bounds.memory_bytes >> 20
                raise UnreadableBundle(f"it takes more than {most} MiB to load; --load-memory-mib")
        return task.result()
    finally:
        task.cancel()


_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
"""Signals that are of the work itself; others come from outside or from the clock."""


def _crash(code: int) -> BundleError:
    if -code in _CRASHES:
        return BundleError(f"it crashes the process that loads it: {signal.Signals(-code).name}")
    ended = "was killed; is memory short?" if code < 0 else f"ended with exit code {code}"
    return UnreadableBundle(f"the process that loads it {ended}")


def main(arguments: list[str]) -> None:
    """The other process. Whatever comes of it is one line of JSON."""
    path, name, gpu_bytes, engines, max_batch_rows, memory_bytes, latest_s = arguments
    signal.setitimer(signal.ITIMER_REAL, float(latest_s))
    with suppress(OSError):  # where memory runs out, this process is the one to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    answer: dict[str, object]
    try:
        read = read_version(Path(path), int(memory_bytes))
        asked = next(known for known in ORT_NAMES if known == name)
        folder = Path(engines) if engines else None
        provider = choose(asked, memory_bytes=int(gpu_bytes) or None, engines=folder)
        loaded = load(read, provider, int(max_batch_rows))
        answer = {"digest": read.digest, "memory_bytes": loaded.memory_bytes}
    except Exception as exc:
        words, inside = said_of(exc)
        answer = {"reason": words, "inside": inside, "final": lies_in_the_files(exc)}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # an orderly end would take apart what ONNX Runtime holds


if __name__ == "__main__":
    main(sys.argv[1:])
