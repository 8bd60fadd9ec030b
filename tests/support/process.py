"""The real `vae-serve` as a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support import patience

READY = re.compile(r"vaeserve ready: grpc=(\S+) metrics=(\S+)(?: http=(\S+))?")


@dataclass
class Server:
    process: subprocess.Popen[str]
    grpc_address: str
    metrics_address: str
    http_address: str

    def terminate(self, timeout_s: float = patience.SECONDS) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


def command(repository: Path, *flags: str) -> list[str]:
    free = [f"--{name}=127.0.0.1:0" for name in ("address", "http-address", "metrics-address")]
    return [sys.executable, "-m", "serving", "--repository", str(repository), *free, *flags]


@contextlib.contextmanager
def serving(repository: Path, *flags: str, stderr: IO[str] | None = None) -> Iterator[Server]:
    """Start the server and wait for its ready line; it is stopped whatever happens."""
    process = subprocess.Popen(
        command(repository, *flags),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        ready = READY.search(process.stdout.readline())
        assert ready, f"the server did not start: exit code {process.poll()}"
        yield Server(process, *ready.groups())
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def refused(repository: Path, *flags: str) -> tuple[int, str]:
    """Exit code and the last line on stderr of a server that does not start."""
    done = subprocess.run(
        command(repository, *flags), capture_output=True, text=True, timeout=patience.SECONDS, check=False
    )
    return done.returncode, done.stderr.strip().splitlines()[-1]
