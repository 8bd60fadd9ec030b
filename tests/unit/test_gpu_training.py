"""The benchmark of training on a GPU: what can be seen of it without one."""

import json
import subprocess
import sys

import pytest

from benchmarks.gpu import steps, utilisation
from benchmarks.gpu.training import main
from tests.support.patience import wait_until


def test_a_variant_that_fails_does_not_end_the_others():
    """It is written down with its reason."""
    rows = list(steps.speeds(["graph"], {"data": "nowhere", "preset": "gpu"}, None, "cpu", 0.1))
    assert [row["variant"] for row in rows] == ["graph"]
    assert rows[0]["failed"]


def test_the_card_is_watched_while_it_works(monkeypatch):
    """The share is the mean of what nvidia-smi says; without a card it is unknown."""
    monkeypatch.setattr(utilisation, "_EVERY_S", 0.001)
    monkeypatch.setattr(utilisation, "query", lambda field: ["90"])
    with utilisation.watched("cuda") as use:
        wait_until(lambda: len(use.samples) >= 3)
    assert use.share == 0.9
    with utilisation.watched("cpu") as use:
        pass
    assert use.share is None


@pytest.mark.slow
def test_both_parts_run_as_a_rehearsal(tmp_path):
    """On the CPU, on digits: variants, then a training with its curve and its likelihood."""
    command = [sys.executable, "-m", "benchmarks.gpu.training", "--device", "cpu", "--data", "digits"]
    command += ["--output", str(tmp_path)]
    subprocess.run([*command, "--seconds", "0.5", "--variants"], check=True)
    found = json.loads((tmp_path / "steps.json").read_text())["variants"]
    assert {row["variant"] for row in found} == set(steps.ON_CPU)
    assert all(row["images_per_s"] > 0 for row in found)
    subprocess.run([*command, "--seconds", "20", "--evaluate-seconds", "2", "--set", "width=2"], check=True)
    document = json.loads((tmp_path / "training.json").read_text())
    assert document["settings"]["width"] == "2"
    assert document["metrics"]["nll_50"] < 60
    assert [row["kind"] for row in document["curve"]][-2:] == ["train", "val"]
    assert document["fit_seconds"] < 60


def test_without_a_card_it_says_so(monkeypatch, capsys):
    """In one line, with exit code 2."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["training", "--variants"])
    assert main() == 2
    assert "no CUDA device" in capsys.readouterr().err
