"""Two versions of the server in turn: ``python -m benchmarks.serving.two_checkouts --other PATH``.

A change of a few per cent is less than what a shared host changes from one minute to the next. So each
workload is run with this checkout and with the other, one after the other, round after round, the first of
a round by turns; the medians are of rounds that lay side by side. Each checkout runs its own benchmark code.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.serving import machine
from benchmarks.serving.workloads import WORKLOADS

HERE = Path(__file__).parents[2]
FIGURES = ("requests_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000_samples")

Rounds = dict[str, list[dict[str, float]]]
"""By version, "this" or "other"."""


def main() -> int:
    options = _options()
    checkouts = {"other": options.other.resolve(), "this": HERE}
    commits = {version: _commit(path) for version, path in checkouts.items()}
    rows = []
    for workload in options.workloads or WORKLOADS:
        rounds: Rounds = {version: [] for version in checkouts}
        for number in range(options.rounds):
            for version in sorted(checkouts, reverse=bool(number % 2)):
                rounds[version].append(_measure(checkouts[version], workload, options.seconds))
        rows.append(_row(workload, rounds))
        print(_line(rows[-1]), flush=True)
    written = {**machine.describe(), "commits": commits, "seconds": options.seconds, "workloads": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    print(f"written to {options.output}")
    return 0


def _measure(checkout: Path, workload: str, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="vae-versions-") as folder:
        command = [sys.executable, "-m", "benchmarks.serving", "--servers", "vaeserve", "--rounds", "1"]
        command += ["--workloads", workload, "--seconds", str(seconds), "--output", folder]
        # The environment's own installation is of one checkout; what stands in the other must win.
        environment = os.environ | {"PYTHONPATH": str(checkout)}
        subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
        (record,) = json.loads(Path(folder, "serving.json").read_text())
    return {figure: record[figure] for figure in FIGURES}


def _row(workload: str, rounds: Rounds) -> dict[str, Any]:
    medians = {
        version: {figure: statistics.median(one[figure] for one in taken) for figure in FIGURES}
        for version, taken in rounds.items()
    }
    ratio = medians["this"]["requests_per_s"] / medians["other"]["requests_per_s"]
    return {"workload": workload, "requests_ratio": round(ratio, 3), "medians": medians, "rounds": rounds}


def _line(row: dict[str, Any]) -> str:
    this, other = row["medians"]["this"], row["medians"]["other"]
    return (
        f"{row['workload']:16} {other['requests_per_s']:9,.0f} → {this['requests_per_s']:9,.0f} requests/s"
        f" ({row['requests_ratio']:.3f}), p99 {other['p99_ms']:.1f} → {this['p99_ms']:.1f} ms,"
        f" CPU {other['cpu_s_per_1000_samples']:.4f} → {this['cpu_s_per_1000_samples']:.4f} s per 1,000"
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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="measured a round (2)")
    parser.add_argument("--output", type=Path, default=HERE / "benchmarks/results/two_checkouts.json")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
