"""One training in several processes or micro-batches: the curve of one process, to rounding."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.test_fit import TINY, fit, load_step, one_thread, rows  # noqa: F401 (a fixture)
from tests.support import patience
from training.runs import checkpoint
from training.runs.training_log import read_rows

LENGTH = ["--steps", "300", "--log-every", "7", "--checkpoint-every", "100"]
TOLERANCE = 1e-5
"""Relative, of every figure of the log; sums in another order differ in the last bits (measured: 7e-7)."""


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def start_two(run: Path, *arguments: str) -> list[subprocess.Popen[str]]:
    """Two processes as torchrun starts them, without torchrun between them and the signals of a test."""
    shared = {
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }
    command = [sys.executable, "-u", "-m", "training", "fit", "--run", str(run), *arguments]
    return [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]


def assert_same_curve(one: Path, other: Path) -> None:
    mine, theirs = rows(one), rows(other)
    for row, expected in zip(mine, theirs, strict=True):
        assert row.pop("kind") == expected.pop("kind")
        assert row == pytest.approx(expected, rel=TOLERANCE, abs=1e-6)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The run of one process."""
    run = tmp_path_factory.mktemp("runs") / "alone"
    assert fit(run, *TINY, *LENGTH) == 0
    return run


def test_torchrun_goes_on_with_the_run_of_one_process(alone, tmp_path):
    """Resumed at step 200 by two processes, which cut their shares again in two, the curve stays the same."""
    run = shutil.copytree(alone, tmp_path / "run")
    checkpoint.files(run / "checkpoints")[0].unlink()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    where = ["--master-addr", "127.0.0.1", "--master-port", free_port()]
    command = ["-m", "--", "training", "fit", "--run", str(run), "--resume", "--accumulate", "2"]
    done = subprocess.run(
        [*torchrun, *where, *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("at step 200 of 300") == 1
    assert done.stdout.count("shared by 2 processes") == 1
    assert_same_curve(run, alone)


def test_a_signal_to_any_process_stops_all_and_one_goes_on(alone, tmp_path):
    """SIGTERM to rank 1 alone: both end at the same step, which is saved; one process finishes the curve."""
    run = tmp_path / "run"
    processes = start_two(run, *TINY, *LENGTH)
    while processes[1].poll() is None and len(read_rows(run / "log.jsonl")) < 3:
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    (out, err), (silent, _) = (process.communicate(timeout=patience.SECONDS) for process in processes)
    assert [process.returncode for process in processes] == [143, 143], err
    assert f"stopped   at step {load_step(run)} of 300, saved" in out
    assert silent == ""
    assert fit(run, "--resume") == 0
    assert_same_curve(run, alone)


def test_one_process_says_what_is_wrong_and_all_end(alone):
    """A run that exists is refused in one line by rank 0; the others end with the same code and in silence."""
    processes = start_two(alone, *TINY, *LENGTH)
    (_, err), (silent, quiet) = (process.communicate(timeout=patience.SECONDS) for process in processes)
    assert [process.returncode for process in processes] == [2, 2]
    assert err.startswith("vae-train: error: --run ")
    assert err.count("\n") == 1
    assert (silent, quiet) == ("", "")


def test_micro_batches_give_the_curve_of_the_whole_batch(alone, tmp_path):
    """Gradients of four parts add up to the gradient of the batch."""
    assert fit(tmp_path / "run", *TINY, *LENGTH, "--accumulate", "4") == 0
    assert_same_curve(tmp_path / "run", alone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--accumulate", "3"], "--batch-size 32: want a multiple of 3, for 1 processes with --accumulate 3"),
        (
            ["--accumulate", "2", "--free-bits", "0.1", "--model", "vae"],
            "--free-bits 0.1: averages its rates",
        ),
        (["--accumulate", "0"], "--accumulate: "),
        (["--restartable"], "--restartable: want --run"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_cut_is_refused(tmp_path, capsys, monkeypatch, arguments, message):
    """One line, exit code 2, nothing left behind."""
    from training.__main__ import main

    monkeypatch.chdir(tmp_path)
    where = [] if arguments == ["--restartable"] else ["--run", "run"]
    assert main(["fit", *where, *TINY, *LENGTH, *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"vae-train: error: {message}")
    assert err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_restartable_run_begins_or_goes_on(alone, tmp_path, capsys):
    """The same command each time, as a job controller gives it: from nothing, from a checkpoint, when done."""
    run = tmp_path / "run"
    command = [*TINY, *LENGTH, "--restartable"]
    assert fit(run, *command) == 0
    checkpoint.files(run / "checkpoints")[0].unlink()
    assert fit(run, *command) == 0
    assert fit(run, *command) == 0
    out = capsys.readouterr().out
    assert "at step 200 of 300" in out
    assert "already at step 300 of 300" in out
    assert rows(run) == rows(alone)
