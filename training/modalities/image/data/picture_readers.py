"""Picture files read by several processes, in the order in which they are asked for.

Decoding keeps a core busy for a file that someone else made. In a process of its own it needs no share of
our interpreter, and what ends it ends neither us nor the reading: a file whose reader dies twice is left out
like any other that cannot be read.
"""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import numpy as np

from serving.pictures.picture_files import PictureError, Pixels, read

FEWEST_FILES = 128
"""Below this many files the processes would take longer to start than to read."""
MOST_READERS = 32
ATTEMPTS = 2
_ROOT = Path(__file__).parents[2]
_PROGRAM = (
    f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"
    "from serving.pictures.picture_worker import main\n"
    "main()"
)
_PATIENCE_S = 5.0

Size = tuple[int, int]


class PictureReaders:
    """A context manager: its processes, if there are enough files for them, end with it."""

    def __init__(self, files: int, size: Size | None) -> None:
        """``size``: height and width that pictures are scaled and cropped to, if they are."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        count = min(MOST_READERS, cores, files) if files >= FEWEST_FILES else 0
        self._size = size
        self._idle: SimpleQueue[_Reader] = SimpleQueue()
        self._readers = [_Reader() for _ in range(count)]
        for reader in self._readers:
            self._idle.put(reader)
        self._threads = ThreadPoolExecutor(count or min(MOST_READERS, 2 * cores))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for reader in self._readers:
                reader.kill()
        self._threads.shutdown(cancel_futures=True)
        for reader in self._readers:
            reader.close()

    def read(self, files: Sequence[Path]) -> Iterator[Pixels | PictureError]:
        """What each file is, in their order."""
        return self._threads.map(self._one, files)

    def _one(self, file: Path) -> Pixels | PictureError:
        if not self._readers:
            return _here(file, self._size)
        reader = self._idle.get()
        try:
            return reader.read(file, self._size)
        finally:
            self._idle.put(reader)


class _Reader:
    """One process, begun anew when it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = True

    def read(self, file: Path, size: Size | None) -> Pixels | PictureError:
        reason = ""
        for _ in range(ATTEMPTS):
            if not self._is_wanted:
                break
            process = self._process = self._process or _started()
            try:
                return _answer(process, file, size)
            except (OSError, EOFError, ValueError):
                process.kill()
                code = process.wait()
                reason = signal.Signals(-code).name if code < 0 else f"status {code}"
                _close_pipes(process)
                self._process = None
        return PictureError(file, f"the process that reads it ended with {reason or 'ours'}")

    def kill(self) -> None:
        """What it was reading is not wanted any more."""
        self._is_wanted = False
        if process := self._process:
            process.kill()

    def close(self) -> None:
        if process := self._process:
            _close_pipes(process)
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _here(file: Path, size: Size | None) -> Pixels | PictureError:
    try:
        return read(file, size)
    except PictureError as exc:
        return exc


def _started() -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _answer(process: "subprocess.Popen[bytes]", file: Path, size: Size | None) -> Pixels | PictureError:
    """Raises EOFError, OSError or ValueError where the process is gone or talks nonsense."""
    if process.stdin is None or process.stdout is None:
        raise EOFError
    process.stdin.write(json.dumps([str(file), size]).encode() + b"\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer = json.loads(line)
    if isinstance(answer, str):
        return PictureError(file, answer)
    content = process.stdout.read(math.prod(answer))
    if len(content) < math.prod(answer):
        raise EOFError
    return np.frombuffer(content, np.uint8).reshape(answer)


def _close_pipes(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
