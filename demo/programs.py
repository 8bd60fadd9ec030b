"""The programs of the project, run as a user runs them: each a process of its own."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "digits"
AUTOENCODER = "digits-ae"
RUNS = {NAME: Path("runs/demo"), AUTOENCODER: Path("runs/demo-ae")}
FLAGS = {NAME: (), AUTOENCODER: ("--model", "ae", "--steps", "1500")}
"""Beyond the preset. An autoencoder has no prior to learn: it reconstructs as well long before."""
REPOSITORY = Path("models")
SERVER_LOG = Path("demo/server.log")

_READY = re.compile(r"vaeserve ready: grpc=(\S+) metrics=(\S+) http=(\S+)")
_STOP_TIMEOUT_S = 30


class DemoError(Exception):
    """The demo cannot go on; one line, fit to be shown."""


@dataclass(frozen=True)
class Server:
    """A running ``vae-serve``."""

    process: subprocess.Popen[str]
    grpc_address: str
    metrics_address: str
    http_address: str


def trained_bundle(name: str) -> Path | None:
    """The newest sealed bundle of a model, if there is any."""
    manifests = (REPOSITORY / name).glob("[0-9]*/manifest.json")
    return max((path.parent for path in manifests), key=lambda path: int(path.name), default=None)


def train_and_export(name: str) -> None:
    """``vae-train fit`` and ``vae-train export``; goes on with a training that was interrupted."""
    run = RUNS[name]
    begun = ("--resume",) if (run / "config.json").is_file() else ()
    _run("training", "fit", "--data", "digits", "--preset", "demo", *FLAGS[name], "--run", str(run), *begun)
    _run("training", "export", "--run", str(run), "--repository", str(REPOSITORY), "--name", name)


def _run(module: str, *arguments: str) -> None:
    print(f"$ python -m {module} {' '.join(arguments)}", flush=True)
    # On 8x8 pixels a second thread gains nothing, and where the CPUs are shared waiting for it costs 30-fold.
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    command = [sys.executable, "-m", module, *arguments]
    status = subprocess.run(command, env=environment, check=False).returncode
    if status:
        raise DemoError(f"python -m {module} {arguments[0]} ended with exit code {status}")


def on_free_ports() -> list[str]:
    """Flags for ``serving``."""
    return [f"--{door}=127.0.0.1:0" for door in ("address", "http-address", "metrics-address")]


@contextlib.contextmanager
def serving(*flags: str) -> Iterator[Server]:
    """``vae-serve``, stopped by SIGTERM, and its exit code checked."""
    command = ["-m", "serving", "--repository", str(REPOSITORY), *flags]
    print(f"$ python {' '.join(command)}", flush=True)
    with SERVER_LOG.open("w") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    with process.stdout:
        try:
            line = process.stdout.readline().strip()
            ready = _READY.search(line)
            if ready is None:
                raise DemoError(f"the server did not start: {_last_words()}")
            print(line, flush=True)
            yield Server(process, *ready.groups())
        finally:
            status = _stop(process)
    if status != 0:
        raise DemoError(f"the server ended with exit code {status}, see {SERVER_LOG}")


def _last_words() -> str:
    """What a server said last."""
    lines = SERVER_LOG.read_text().splitlines()
    return lines[-1] if lines else f"it said nothing, see {SERVER_LOG}"


def _stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
