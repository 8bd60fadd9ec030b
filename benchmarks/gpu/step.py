"""What a step of the check is told, and its record: on disk after every change, for a step may be cut."""

import argparse
import ctypes
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.runtime.providers import ProviderName, cuda_obstacle

_SET_DEATH_SIGNAL = 1
_WORDS = {True: "pass", False: "SHORT", None: "not judged"}


@dataclass(frozen=True)
class Told:
    device: ProviderName
    output: Path
    """Folder of the records."""
    work: Path
    """Folder of the bundles and of what a step writes for itself."""
    ends_at: float
    """On the monotonic clock: when the step should have finished; a little later it is cut."""

    @property
    def rehearsed(self) -> bool:
        return self.device == "cpu"

    def left_s(self) -> float:
        return self.ends_at - time.monotonic()


class Record:
    """Checks have a verdict, figures go into the table; rows are whatever else was measured."""

    def __init__(self, told: Told, step: str) -> None:
        self._file = told.output / f"{step}.json"
        self._began = time.monotonic()
        self._document: dict[str, Any] = {
            "step": step,
            "device": told.device,
            "finished": False,
            "checks": [],
            "figures": {},
            "not_measured": {},
        }
        self._write()

    def check(self, what: str, ok: bool, came: object, wanted: str) -> None:
        self._judge(what, bool(ok), came, wanted)

    def judge_speed(self, what: str, ok: bool, came: object, wanted: str) -> None:
        """The same for what means nothing in a rehearsal, and is not judged there."""
        self._judge(what, None if self._document["device"] == "cpu" else bool(ok), came, wanted)

    def figure(self, name: str, value: object) -> None:
        self._document["figures"][name] = value
        self._write()

    def row(self, section: str, values: dict[str, Any]) -> None:
        self._document.setdefault(section, []).append(values)
        print(f"{section}: {values}", flush=True)
        self._write()

    def missed(self, what: str, why: str) -> None:
        """What could not be measured."""
        self._document["not_measured"][what] = why
        print(f"NOT MEASURED {what}: {why}", flush=True)
        self._write()

    def finish(self) -> None:
        self._document["finished"] = True
        self._write()

    def _judge(self, what: str, ok: bool | None, came: object, wanted: str) -> None:
        self._document["checks"].append({"what": what, "ok": ok, "came": came, "wanted": wanted})
        print(f"{_WORDS[ok]:10} {what}: {came}, want {wanted}", flush=True)
        self._write()

    def _write(self) -> None:
        self._document["seconds"] = round(time.monotonic() - self._began, 1)
        write_json(self._file, self._document)


def write_json(file: Path, document: object) -> None:
    """In one move: a reader sees the old or the new, whoever is killed meanwhile."""
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    os.replace(partial, file)


def main(step: str, work: Callable[[Told, Record], None]) -> None:
    """The command line of every step."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.gpu.{step}")
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    if options.device == "cuda" and (obstacle := cuda_obstacle()):
        raise SystemExit(f"--device cuda: {obstacle}")
    ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)  # when the runner dies
    ends_at = time.monotonic() - _age_s() + options.seconds
    told = Told(options.device, options.output, options.work, ends_at)
    record = Record(told, step)
    work(told, record)
    record.finish()


def _age_s() -> float:
    """Since this process began: to import what a step needs may take seconds."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
