"""Processes that are asked and answer, a line of JSON each way: measurements that need one of their own.

They end when the process that asks them does, for then there is nothing more to read.
"""

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from benchmarks.gpu.runner import ROOT, kill, module
from benchmarks.serving.processes import ServerProcess

Answer = dict[str, Any]


class ChildFailed(Exception):
    """It said why, or ended, or did not answer in time."""


class Child:
    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._tree = ServerProcess(process, log)
        self._process = process
        self._read = b""
        self._is_ready = False

    def send(self, **question: Any) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):  # it has ended: the answer will say so
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, timeout_s: float) -> Answer:
        """Raises ChildFailed."""
        end = time.monotonic() + timeout_s
        if not self._is_ready:
            self._line(end)
            self._is_ready = True
        answer: Answer = json.loads(self._line(end))
        if "failed" in answer:
            raise ChildFailed(answer["failed"])
        return answer

    def ask(self, timeout_s: float, **question: Any) -> Answer:
        """Raises ChildFailed."""
        self.send(**question)
        return self.answer(timeout_s)

    def end(self) -> None:
        kill(self._tree.pids())
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with contextlib.suppress(OSError):  # what it was told and did not read
                pipe.close()

    def _line(self, end: float) -> bytes:
        assert self._process.stdout
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise ChildFailed("it did not answer in time")
            if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                code = self._process.wait()
                raise ChildFailed(f"it ended with exit code {code}: {self._tree.last_words()[-500:]}")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line


@contextlib.contextmanager
def child(name: str, log: Path, *arguments: str) -> Iterator[Child]:
    with log.open("wb") as words:
        process = subprocess.Popen(
            module(name, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, cwd=ROOT
        )
    started = Child(process, log)
    try:
        yield started
    finally:
        started.end()


def answering(handle: Callable[[Answer], Answer]) -> None:
    """The other side: until there is nothing more to read. What else is printed goes to the log."""
    said = _replies()
    print("{}", file=said, flush=True)  # ready
    for line in sys.stdin:
        try:
            answer = handle(json.loads(line))
        except Exception as exc:  # whatever it is, who asks wants to know
            answer = {"failed": f"{type(exc).__name__}: {exc}"[:1000]}
        print(json.dumps(answer), file=said, flush=True)


def _replies() -> TextIO:
    """Standard output, which from now on is nobody's: libraries print to it as well."""
    said = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return said


async def answering_async(handle: Callable[[Answer], Awaitable[Answer]]) -> None:
    """The same on an event loop, which goes on while nobody asks."""
    loop = asyncio.get_running_loop()
    said = _replies()
    print("{}", file=said, flush=True)
    with ThreadPoolExecutor(1) as reader:
        while line := await loop.run_in_executor(reader, sys.stdin.readline):
            try:
                answer = await handle(json.loads(line))
            except Exception as exc:
                answer = {"failed": f"{type(exc).__name__}: {exc}"[:1000]}
            print(json.dumps(answer), file=said, flush=True)
