"""Run folders and targets that something else has been at: one line each, nothing lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.__main__ import main
from training.runs import Run
from training.runs.training_log import read_rows
from training.training_error import TrainingError

TINY = ["--network", "mlp", "--width", "4", "--latent", "2", "--batch-size", "4", "--threads", "1"]
LENGTH = ["--steps", "4", "--log-every", "1", "--checkpoint-every", "2"]
LONG = "x" * 300


def fit(*arguments: object) -> int:
    return main(["fit", *map(str, arguments)])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("data") / "x.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (24, 6, 6), dtype=np.uint8))
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    assert fit("--data", data, "--run", run, "--no-tensorboard", *TINY, *LENGTH) == 0
    return run


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line of a command that is refused."""
    assert main([str(argument) for argument in arguments]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("content", [b"\xff\xfe\0garbage\n", b"5\n", b"{}\n", b"[1]\n"])
def test_a_spoiled_log_ends_where_it_is_spoiled(run, content):
    """A crash of the machine may leave anything in it; the rows before still count, and the run goes on."""
    log = run / "log.jsonl"
    rows = read_rows(log)
    first = log.read_bytes().splitlines(keepends=True)[0]
    log.write_bytes(first + content + first)
    assert read_rows(log) == rows[:1]
    assert fit("--run", run, "--resume") == 0


def test_files_in_the_way_are_named(run, data, tmp_path, capsys):
    """A folder where a file is wanted, a file where a folder is wanted, a full disk."""
    again = ("fit", "--run", run, "--data", data, "--overwrite", *TINY, *LENGTH)
    (run / "metrics.json").mkdir()
    assert f"--run {run}/metrics.json: cannot be removed: Is a directory" in refusal(capsys, *again)
    shutil.rmtree(run)
    assert fit("--run", run, "--data", data, "--no-tensorboard", *TINY, *LENGTH) == 0
    (run / "tensorboard").write_text("a file")
    line = refusal(capsys, "fit", "--run", run, "--resume", "--tensorboard")
    assert f"{run}/tensorboard: cannot be written: File exists" in line
    (run / "log.partial").symlink_to("/dev/full")
    line = refusal(capsys, "fit", "--run", run, "--resume", "--no-tensorboard")
    assert f"{run}/log.jsonl: cannot be written: No space left on device" in line
    shutil.rmtree(run / "checkpoints")
    (run / "log.partial").unlink()
    (run / "checkpoints").write_text("a file")
    line = refusal(capsys, "fit", "--run", run, "--resume", "--no-tensorboard")
    assert f"{run}/checkpoints/step-00000002.safetensors: cannot be written" in line


def test_a_run_that_could_not_begin_can_begin_again(trained, data, tmp_path):
    """What a full disk left of config.json does not make the folder somebody else's."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.partial").symlink_to("/dev/full")
    with pytest.raises(TrainingError, match=r"--run .*/run: cannot be written: No space left on device"):
        Run(run).describe(Run(trained).description())
    assert not any(run.iterdir())
    assert fit("--run", run, "--data", data, "--no-tensorboard", *TINY, *LENGTH) == 0


def test_names_too_long_for_a_file(run, data, tmp_path, monkeypatch, capsys):
    """For any path of any command; so are files where the path leads through a file."""
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("fit", "--data", data, "--run", LONG),
        ("fit", "--data", data, "--run", data / "run"),
        ("evaluate", "--run", run, "--ood", LONG),
        ("export", "--run", run, "--repository", LONG, "--force"),
        ("import-onnx", "--encoder", "a", "--decoder", "b", "--name", "x", "--repository", LONG),
        ("import-onnx", "--encoder", "a", "--decoder", "b", "--name", "x", "--data", LONG),
    ):
        assert refusal(capsys, *arguments).startswith("vae-train: error: --"), arguments


def test_above_the_highest_version_is_none(run, tmp_path, capsys):
    """Said before any work is done."""
    (tmp_path / "models" / "run" / str(2**63 - 1)).mkdir(parents=True)
    line = refusal(capsys, "export", "--run", run, "--repository", tmp_path / "models", "--force")
    assert "has the highest version there is; want --version, a lower one" in line
    assert not (run / "metrics.json").exists()


def test_the_terminals_encoding_is_not_that_of_files(data, tmp_path):
    """Where it lacks a letter of a label, config.json has it all the same."""
    labels = np.array(["ü", "a"])[np.arange(24) % 2]
    np.savez(tmp_path / "x.npz", images=np.load(data), labels=labels)
    begin = [
        "fit",
        "--data",
        tmp_path / "x.npz",
        "--run",
        tmp_path / "run",
        "--no-tensorboard",
        *TINY,
        *LENGTH,
    ]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for arguments in (begin, ["evaluate", "--run", tmp_path / "run", "--k", "2"]):
        done = subprocess.run(
            [sys.executable, "-m", "training", *map(os.fsencode, arguments)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_damaged_files_are_lines_and_no_warnings(tmp_path, recwarn, capsys):
    """Pillow warns of what it stumbles over, without the name of the file; we name it."""
    (tmp_path / "data").mkdir()
    for row in range(8):
        Image.new("L", (8, 8), row * 30).save(tmp_path / "data" / f"{row}.png")
    Image.new("L", (8, 8), 99).save(tmp_path / "data/a.tif")
    content = (tmp_path / "data/a.tif").read_bytes()
    (tmp_path / "data/b.tif").write_bytes(content[:20])
    run = ("--data", tmp_path / "data", "--run", tmp_path / "run", "--no-tensorboard", *TINY, *LENGTH)
    assert fit(*run) == 0
    assert not [str(warning.message) for warning in recwarn if "PIL" in warning.filename]
