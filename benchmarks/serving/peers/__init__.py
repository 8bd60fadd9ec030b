"""Other servers, each in an environment of its own, with the graphs and the load of ours.

The scripts beside this file run in those environments (``make bench-peers`` builds them), so they
import nothing of this project. Batching is set as each server's documentation advises; the settings
are the ones for all workloads, as ours are.
"""

from collections.abc import Callable
from pathlib import Path

from benchmarks.serving.protocols import OpenInference, RawHttp, model_of
from benchmarks.serving.servers import Command, Server, Setting

ENVIRONMENTS = Path(".venv-peers")
_HERE = Path(__file__).parent


def python(peer: str) -> Path:
    """The interpreter of a peer's environment; OSError where it is not installed."""
    found = (ENVIRONMENTS / peer / "bin" / "python").absolute()
    if not found.exists():
        raise FileNotFoundError(f"{found} is missing; make bench-peers installs it")
    return found


def _script(peer: str, *flags: str) -> Callable[[Setting, int], list[str]]:
    def command(setting: Setting, port: int) -> list[str]:
        return [
            str(python(peer)),
            str(_HERE / f"{peer}_server.py"),
            f"--graph={setting.case.graph_file}",
            f"--name={model_of(setting.case.workload)}",
            f"--port={port}",
            f"--folder={setting.folder}",
            *flags,
        ]

    return command


PEERS: tuple[Server, ...] = (
    Command("mlserver", _script("mlserver"), OpenInference(), peer=True),
    Command("pytriton", _script("pytriton"), OpenInference(), peer=True),
    Command("mosec", _script("mosec"), RawHttp(), peer=True),
)
VARIANTS: tuple[Server, ...] = (
    Command("mlserver_unbatched", _script("mlserver", "--unbatched"), OpenInference(), peer=True),
    Command("mosec_unbatched", _script("mosec", "--unbatched"), RawHttp(), peer=True),
)
"""The same without their timers, which cost latency when few requests are in flight."""
