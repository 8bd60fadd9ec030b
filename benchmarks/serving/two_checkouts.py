"""Two versions of the server in turn: ``python -m benchmarks.serving.two_checkouts --other PATH``.

A change of a few per cent is less than what a shared host changes from one second to the next. So a server
of this checkout and one of the other stand side by side, and are called by turns of less than a second, the
first of a round by turns too; what counts is the median over the rounds of the two turns' quotient.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.serving import h2load, machine
from benchmarks.serving.models import make_repository
from benchmarks.serving.processes import free_port, running, wait_for_port
from benchmarks.serving.protocols import VaeV1
from benchmarks.serving.servers import Loaded
from benchmarks.serving.workloads import WORKLOADS, Case

HERE = Path(__file__).parents[2]
FIGURES = ("requests_per_s", "cpu_s_per_1000")
_START_S = 60.0
_WARM_UP_S = 0.15
_FIRST_S = 2.0
"""Of load before the first round."""

Turn = dict[str, float]
Rounds = dict[str, list[Turn]]
"""By version, "this" or "other"."""


def main() -> int:
    options = _options()
    checkouts = {"other": options.other.resolve(), "this": HERE}
    commits = {version: _commit(path) for version, path in checkouts.items()}
    rows = []
    with tempfile.TemporaryDirectory(prefix="vae-versions-") as name:
        repository = make_repository(Path(name, "models"))
        for workload in options.workloads or WORKLOADS:
            case = Case(WORKLOADS[workload], repository)
            rows.append({"workload": workload} | _compare(checkouts, case, Path(name), options))
            print(_line(rows[-1]), flush=True)
    written = {**machine.describe(), "commits": commits, "seconds": options.seconds, "workloads": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    print(f"written to {options.output}")
    return 0


def _compare(
    checkouts: dict[str, Path], case: Case, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    rounds: Rounds = {version: [] for version in checkouts}
    with contextlib.ExitStack() as stack:
        servers = {
            version: stack.enter_context(_started(checkout, case, folder / f"{version}.log"))
            for version, checkout in checkouts.items()
        }
        for server in servers.values():
            server.measure(0.0, _FIRST_S)
        for number in range(options.rounds):
            for version in sorted(checkouts, reverse=bool(number % 2)):
                rounds[version].append(_turn(servers[version], options.seconds))
    quotients = {
        figure: [
            this[figure] / other[figure] for this, other in zip(rounds["this"], rounds["other"], strict=True)
        ]
        for figure in FIGURES
    }
    medians = {
        version: {figure: statistics.median(turn[figure] for turn in turns) for figure in FIGURES}
        for version, turns in rounds.items()
    }
    return {"medians": medians, "of_other": {figure: _quartiles(quotients[figure]) for figure in FIGURES}}


@contextlib.contextmanager
def _started(checkout: Path, case: Case, log: Path) -> Iterator[Loaded]:
    """With default settings; addresses by variables, for an earlier version has no flag for every door."""
    port = free_port()
    command = [sys.executable, "-m", "serving", f"--repository={case.repository}"]
    command += [f"--address=127.0.0.1:{port}", f"--metrics-address=127.0.0.1:{free_port()}"]
    # The environment's own installation is of one checkout; what stands in the other must win.
    environment = {"PYTHONPATH": str(checkout), "VAE_HTTP_ADDRESS": f"127.0.0.1:{free_port()}"}
    with running(command, log, os.environ | environment, checkout) as process:
        wait_for_port(process, port, _START_S)
        wire = VaeV1()
        yield Loaded(
            process,
            h2load.Target(
                port=port,
                path=wire.path(case.workload),
                body=wire.body(case),
                reply_bytes=wire.reply_bytes(port, case),
                http1=False,
                at_once=case.workload.at_once,
            ),
        )


def _turn(server: Loaded, seconds: float) -> Turn:
    one = server.measure(_WARM_UP_S, seconds)
    return {
        "requests_per_s": round(one.requests / one.seconds, 1),
        "cpu_s_per_1000": round(one.cpu_s / one.requests * 1000, 4),
    }


def _quartiles(quotients: list[float]) -> list[float]:
    """The median in the middle."""
    return [round(value, 3) for value in statistics.quantiles(quotients, n=4)]


def _line(row: dict[str, Any]) -> str:
    (low, median, high), (_, cpu, _) = (row["of_other"][figure] for figure in FIGURES)
    this, other = row["medians"]["this"], row["medians"]["other"]
    return (
        f"{row['workload']:16} {other['requests_per_s']:9,.0f} → {this['requests_per_s']:9,.0f} requests/s:"
        f" {median:.3f} ({low:.3f} to {high:.3f}), CPU a request {cpu:.3f}"
    )


def _commit(checkout: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.two_checkouts", description=__doc__)
    parser.add_argument(
        "--other", type=Path, required=True, help="the other checkout, the version before say"
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.6, help="measured a turn (0.6)")
    parser.add_argument("--output", type=Path, default=HERE / "benchmarks/results/two_checkouts.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
