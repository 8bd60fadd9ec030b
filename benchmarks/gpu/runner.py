"""Steps one after another, each a process tree of its own with a limit, whatever becomes of any of them."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.serving.processes import ServerProcess

ROOT = Path(__file__).parents[2]
Verdict = Literal["ok", "short", "failed", "cut"]

_SET_CHILD_SUBREAPER = 36
_MARGIN = 0.1
"""Of its limit: so much earlier a step should have finished by itself."""
_LEAST_MARGIN_S = 2.0
_TOLD = ("images_per_s", "utilisation", "measured_ms", "fit_seconds", "nelbo", "nll_")
"""What is told of a record that names no figures, by how the names begin."""
_LAST_LINES, _LONGEST_LINE = 40, 500


@dataclass(frozen=True)
class Step:
    name: str
    share: float
    """Of the time, in relation to the other steps'."""
    command: list[str]
    """``--device``, ``--output`` and the flags of ``seconds`` are put behind it."""
    most_s: float = float("inf")
    """What it is asked to take, whatever there is."""
    seconds: tuple[tuple[str, float], ...] = (("--seconds", 1.0),)
    """Flags, and which part of the time each is given."""
    own_folder: Path | None = None
    """Where it writes, if it writes more than its record: only that is wanted."""


@dataclass(frozen=True)
class Outcome:
    step: str
    verdict: Verdict
    seconds: float
    limit_s: float
    reason: str = ""
    short: list[str] = field(default_factory=list)
    """The checks that were not passed."""
    figures: dict[str, Any] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    """Last lines of what it and its processes wrote, if it is not ok: to be mended from afar."""


class Runner:
    """``beside``: processes of the caller that go on during the steps."""

    def __init__(self, device: str, output: Path, logs: Path, beside: Iterable[int] = ()) -> None:
        self._device, self._output, self._logs = device, output, logs
        self._beside = set(beside)
        # Servers of a step that crashed come to this process, so that they can be found and killed.
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def run(self, steps: list[Step], seconds: float, tell: Callable[[Outcome], None]) -> list[Outcome]:
        """Time that a step leaves is the next ones'; ``tell`` is called after each."""
        ends_at, outcomes = time.monotonic() + seconds, []
        for place, step in enumerate(steps):
            shares = sum(other.share for other in steps[place:])
            left_s = ends_at - time.monotonic()
            outcomes.append(self._one(step, left_s * step.share / shares))
            tell(outcomes[-1])
        return outcomes

    def _one(self, step: Step, limit_s: float) -> Outcome:
        log, record = self._logs / f"{step.name}.log", self._output / f"{step.name}.json"
        record.unlink(missing_ok=True)
        asked_s = min(step.most_s, limit_s - max(_LEAST_MARGIN_S, _MARGIN * limit_s))
        if asked_s <= 0:
            return Outcome(step.name, "cut", 0.0, round(limit_s, 1), "no time was left for it")
        told = ["--device", self._device, "--output", str(_output(step, record))]
        for flag, part in step.seconds:
            told += [flag, f"{asked_s * part:.1f}"]
        began, written = time.monotonic(), time.time()
        with log.open("wb") as words:
            process = subprocess.Popen(
                [*step.command, *told],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=ROOT,
            )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._kill(ServerProcess(process, log))
        outcome = _outcome(step.name, code, time.monotonic() - began, limit_s, record, log)
        return outcome if outcome.verdict == "ok" else replace(outcome, logs=last_lines(self._logs, written))

    def _kill(self, step: ServerProcess) -> None:
        """Whatever is left of it, servers in sessions of their own included."""
        kill(step.pids())
        step.process.wait()
        kill(descendants() - self._beside)


def _output(step: Step, record: Path) -> Path:
    """Where the step is to write. Its record is where it is wanted from the first, by a link."""
    if step.own_folder is None:
        return record.parent
    step.own_folder.mkdir(parents=True, exist_ok=True)
    (step.own_folder / record.name).symlink_to(record)
    return step.own_folder


def descendants() -> set[int]:
    """Of this process."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, more = set(), {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in more}:
        found |= more
    return found


def kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.gpu.{name}", *arguments]


def read_record(file: Path) -> dict[str, Any]:
    """What a step has written; empty if it wrote nothing that can be read."""
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def last_lines(logs: Path, since: float) -> dict[str, list[str]]:
    """Of every log that was written to since, by its name."""
    found = {}
    for log in sorted(logs.glob("*.log")):
        if log.stat().st_mtime >= since - 1 and (text := log.read_text(errors="replace").strip()):
            found[log.stem] = [line[:_LONGEST_LINE] for line in text.splitlines()[-_LAST_LINES:]]
    return found


def _numbers(document: dict[str, Any]) -> dict[str, float]:
    """Of a record that names no figures."""
    found = {**document, **document.get("metrics", {})}
    numbers = {name: value for name, value in found.items() if type(value) in (int, float)}
    return {name: numbers[name] for name in numbers if name.startswith(_TOLD) and not name.endswith("_se")}


def _outcome(name: str, code: int | None, seconds: float, limit_s: float, record: Path, log: Path) -> Outcome:
    document = read_record(record)
    lines = log.read_text(errors="replace").strip().splitlines()
    short = [
        f"{check['what']}: {check['came']}, want {check['wanted']}"
        for check in document.get("checks", [])
        if check["ok"] is False
    ]
    verdict: Verdict
    if code is None:
        verdict, reason = "cut", f"it took more than its {limit_s:.0f} s"
    elif code:
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        verdict, reason = "failed", f"{ended}: {lines[-1] if lines else '(it printed nothing)'}"
    elif not document:
        verdict, reason = "failed", f"it left no {record.name}"
    else:
        verdict, reason = ("short" if short else "ok"), "; ".join(short)
    return Outcome(
        step=name,
        verdict=verdict,
        seconds=round(seconds, 1),
        limit_s=round(limit_s, 1),
        reason=reason,
        short=short,
        figures=document.get("figures") or _numbers(document),
        not_measured=document.get("not_measured", {}),
    )


def as_document(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)
