"""`make gpu-check`: whatever becomes of a step, what was found is there. On the CPU, for want of a card."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import patience

ROOT = Path(__file__).parents[2]
LIMIT_S = 6
"""Of the step that hangs; the others have ten times as much."""

RUNNER = """
import sys
from pathlib import Path
from benchmarks.gpu import report
from benchmarks.gpu.runner import Runner, Step
from tests.integration.test_gpu_check import STEPS, LIMIT_S

output, names = Path(sys.argv[1]), sys.argv[2].split(",")
document = {"has_ended": False, "steps": []}

def command(name):
    return [sys.executable, "-S", "-c", STEPS[name]]

def tell(outcome):
    report.add(document, outcome, 0.0, output)

for name in names:
    seconds = LIMIT_S if name == "hangs" else 10 * LIMIT_S
    Runner("cpu", output, output).run([Step(name, 1.0, command(name))], seconds, tell)
"""
WRITE = """
import json, os, sys, subprocess, time
output = sys.argv[sys.argv.index("--output") + 1]
def write(name, **document):
    with open(f"{output}/{name}.partial", "w") as file:
        json.dump(document, file)
    os.replace(file.name, f"{output}/{name}.json")
def server():
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]
    return subprocess.Popen(sleep, start_new_session=True).pid
"""
STEPS = {
    "fine": WRITE + 'write("fine", checks=[], figures={"rows": 7})',
    "slow": WRITE + 'write("slow", checks=[{"what": "speed", "ok": False, "came": 1, "wanted": "2"}])',
    "crashes": WRITE + 'write("crashes", server=server())\nraise ValueError("no such kernel")',
    "hangs": WRITE
    + 'write("hangs", figures={"rows": 9}, server=server(), step=os.getpid())\ntime.sleep(3600)',
    "silent": "pass",
}


def start(output: Path, *names: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", RUNNER, str(output), ",".join(names)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read(file: Path) -> dict:
    return json.loads(file.read_text())


def test_every_step_has_its_verdict_and_what_it_wrote_is_kept(tmp_path):
    """A step that crashes, hangs or says nothing costs itself alone, and leaves no server behind."""
    process = start(tmp_path, *STEPS)
    said, _ = process.communicate(timeout=patience.SECONDS)
    assert process.returncode == 0, said
    document = read(tmp_path / "check.json")
    steps = {step["step"]: step for step in document["steps"]}
    assert {name: step["verdict"] for name, step in steps.items()} == {
        "fine": "ok", "slow": "short", "crashes": "failed", "hangs": "cut", "silent": "failed",
    }  # fmt: skip
    assert not document["ok"]
    assert steps["fine"]["figures"] == {"rows": 7}
    assert steps["slow"]["short"] == ["speed: 1, want 2"]
    assert steps["crashes"]["reason"] == "exit code 1: ValueError: no such kernel"
    assert "6 s" in steps["hangs"]["reason"]
    assert "ValueError: no such kernel" in steps["crashes"]["logs"]["crashes"]
    assert steps["hangs"]["figures"] == {"rows": 9}
    assert "silent.json" in steps["silent"]["reason"]
    for name in ("crashes", "hangs"):
        assert not is_running(read(tmp_path / f"{name}.json")["server"])
    table = (tmp_path / "check.md").read_text()
    assert "| hangs | 6 | **cut** | rows 9 |" in table
    assert "no such kernel" in table


def test_a_runner_that_is_killed_leaves_what_was_over(tmp_path):
    """And files that are whole."""
    process = start(tmp_path, "fine", "hangs")
    hanging = tmp_path / "hangs.json"
    with process:
        patience.wait_until(hanging.exists)
        process.kill()
    for left in ("server", "step"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(read(hanging)[left], signal.SIGKILL)
    document = read(tmp_path / "check.json")
    assert [step["verdict"] for step in document["steps"]] == ["ok"]
    assert not document["has_ended"]
    assert "has not ended" in (tmp_path / "check.md").read_text()


@pytest.mark.slow
def test_the_rehearsal_does_all_that_needs_no_card(tmp_path):
    """Real servers, clients and graphs; what is about speed is not judged."""
    options = ["--device", "cpu", "--minutes", "20", "--only", "correct,graphs,served,soak"]
    command = [sys.executable, "-m", "benchmarks.gpu.check", *options, "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = read(tmp_path / "check.json")
    assert document["ok"]
    assert document["has_ended"]
    verdicts = [step["verdict"] for step in document["steps"]]
    assert verdicts == ["ok"] * 5, document["steps"]
    differences = read(tmp_path / "correct.json")["differences"]
    assert {difference["largest"] for difference in differences} == {0.0}, "it is the same device"
    assert len(read(tmp_path / "served.json")["ratios"]) == 3
    assert len(list(tmp_path.iterdir())) <= 8, "no more come back from a card"


def test_a_step_that_is_none_is_refused():
    """In words."""
    command = [sys.executable, "-m", "benchmarks.gpu.check", "--device", "cpu", "--only", "corect"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "corect" in done.stderr
    assert "training" in done.stderr
