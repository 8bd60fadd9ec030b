"""``python -m benchmarks.gpu.check``: everything that is to be proven on a GPU, in one run of some minutes.

Every step is a process of its own with a limit of its own, and writes what it finds as it finds it, so that
whatever goes wrong costs that step alone. ``--device cpu`` rehearses the same way with small networks; its
figures mean nothing.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu import report
from benchmarks.gpu.runner import ROOT, Outcome, Runner, Step, kill, module, read_record
from benchmarks.serving.processes import ServerProcess
from serving.runtime.providers import cuda_obstacle

RESULTS = {"cuda": ROOT / "benchmarks/results/gpu", "cpu": ROOT / "build/benchmarks/gpu"}
SHARES = {"correct": 60.0, "served": 90.0, "executor": 15.0, "soak": 35.0, "graphs": 45.0, "training": 60.0}
"""Of the time, in the order in which the steps run."""
_TRAINING_S = 220.0
"""At most; a little more than half of it in the loop itself."""
_DATA = Path(os.environ.get("VAE_TEST_DATA", ROOT / "shared/data"), "mnist")
_PREPARING = 0.3
"""Of the time, at most, until the small bundles are there; the large one is made beside the first steps."""


def main() -> int:
    options = _options()
    if options.device == "cuda" and (obstacle := cuda_obstacle()):
        print(f"--device cuda: {obstacle}; want a GPU, or --device cpu for a rehearsal", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    output = (options.output or RESULTS[options.device]).absolute()
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        return _check(options, output, Path(name))


def _check(options: argparse.Namespace, output: Path, work: Path) -> int:
    began = time.monotonic()
    budget_s = 60 * options.minutes
    document: dict[str, Any] = {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": options.device,
        "minutes": options.minutes,
        "asked_for": options.only,
        "has_ended": False,
        "steps": [],
    }

    def tell(outcome: Outcome) -> None:
        document.update(read_record(work / "card.json"))
        report.add(document, outcome, round(time.monotonic() - began, 1), output)

    makers = {part: _maker(part, options.device, work) for part in _parts(options.only)}
    runner = Runner(options.device, output, work, [maker.process.pid for maker in makers.values()])
    try:
        tell(_prepared(next(iter(makers.values())), _PREPARING * budget_s))
        runner.run(
            [_step(name, options, work) for name in options.only], budget_s - time.monotonic() + began, tell
        )
    finally:
        for maker in makers.values():
            kill(maker.pids())
            maker.process.wait()
    document["has_ended"] = True
    report.write(document, output)
    print(f"written: {output}/check.md")
    return 0 if document["ok"] else 1


def _parts(steps: list[str]) -> tuple[str, ...]:
    """What is made beforehand; the first of it is waited for."""
    return ("card",) if steps == ["training"] else ("small", "large")


def _maker(part: str, device: str, work: Path) -> ServerProcess:
    """Makes bundles in the background."""
    log = work / f"{part}.log"
    command = module("bundles", "--part", part, "--device", device, "--work", str(work))
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdout=words, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT
        )
    return ServerProcess(process, log)


def _prepared(maker: ServerProcess, limit_s: float) -> Outcome:
    began = time.monotonic()
    try:
        code = maker.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return Outcome("prepare", "cut", round(limit_s, 1), limit_s, "no bundles by then; they go on")
    seconds = round(time.monotonic() - began, 1)
    if code:
        words = maker.last_words().splitlines()
        return Outcome("prepare", "failed", seconds, limit_s, words[-1], logs={"small": words})
    return Outcome("prepare", "ok", seconds, limit_s)


def _step(name: str, options: argparse.Namespace, work: Path) -> Step:
    if name != "training":
        return Step(name, SHARES[name], module(name, "--work", str(work)))
    # A rehearsal takes the data that come with scikit-learn.
    data = ["--data", "digits"] if options.device == "cpu" else ["--data-dir", str(options.data_dir)]
    parts = (("--seconds", 0.55), ("--evaluate-seconds", 0.2))
    return Step(name, SHARES[name], module(name, *data), _TRAINING_S, parts, work / "training")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.check", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it; scales every step's limit")
    parser.add_argument("--output", type=Path, help="folder (default: benchmarks/results/gpu)")
    parser.add_argument("--data-dir", type=Path, default=_DATA, help="folder with MNIST's four IDX files")
    parser.add_argument("--only", type=_steps, default=list(SHARES), help=f"of {','.join(SHARES)}")
    return parser.parse_args()


def _steps(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(SHARES):
        raise argparse.ArgumentTypeError(f"want some of {', '.join(SHARES)}, came {', '.join(unknown)}")
    return [name for name in SHARES if name in names]


if __name__ == "__main__":
    sys.exit(main())
