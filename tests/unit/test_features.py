"""The committed feature network of MNIST."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from training import modalities
from training.config import FitConfig
from training.data import to_unit
from training.evaluate.features import CARD, WEIGHTS, mnist_network
from training.evaluate.features.mnist_recipe import WANTED_ACCURACY
from training.evaluate.features.mnist_recipe import main as fit
from training.training_error import TrainingError


def test_network_knows_the_test_digits(data_dir):
    """Of the 10,000 test images it puts as many right as its card says, and at least 99.2 %."""
    dataset = modalities.load(FitConfig.parse({"data": "mnist", "data_dir": data_dir / "mnist"}))
    network = mnist_network().classifier
    with torch.inference_mode():
        found = torch.cat(
            [network(rows)[0].argmax(dim=1) for rows in to_unit(dataset.test.images).split(1000)]
        )
    accuracy = float((found == dataset.test.labels).float().mean())
    assert accuracy >= WANTED_ACCURACY
    assert accuracy == pytest.approx(json.loads(CARD.read_text())["test_accuracy"], abs=5e-4)


def test_weights_are_small_and_the_ones_of_the_card():
    """Below 2 MB, float32 once loaded, in evaluation mode, named by their sha256."""
    network = mnist_network()
    assert WEIGHTS.stat().st_size < 2_000_000
    assert network.sha256 == json.loads(CARD.read_text())["sha256"]
    assert not network.classifier.training
    assert {p.dtype for p in network.classifier.parameters()} == {torch.float32}


def test_other_weights_are_refused(tmp_path):
    """One changed byte, or a missing file: an error, for figures in other features compare with none."""
    shutil.copy(CARD, tmp_path)
    content = bytearray(WEIGHTS.read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS.name).write_bytes(content)
    with pytest.raises(TrainingError, match=r"want sha256 \w+, came \w+"):
        mnist_network(tmp_path / WEIGHTS.name, tmp_path / CARD.name)
    (tmp_path / WEIGHTS.name).unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        mnist_network(tmp_path / WEIGHTS.name, tmp_path / CARD.name)


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(header + values.astype(np.uint8).tobytes())


def test_recipe_refuses_a_network_that_sees_too_little(tmp_path, monkeypatch, capsys):
    """Noise teaches nothing: exit code 2 with the accuracy that came, and nothing is written."""
    draw = np.random.default_rng(0)
    for name, count in (("train", 60), ("t10k", 40)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", draw.integers(256, size=(count, 28, 28)))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", draw.integers(10, size=count))
    output = tmp_path / "output"
    arguments = ["fit", "--data-dir", str(tmp_path), "--steps", "1", "--output", str(output)]
    monkeypatch.setattr("sys.argv", arguments)
    assert fit() == 2
    assert "--steps 1: want at least 99.2% of the test images right, came" in capsys.readouterr().err
    assert not output.exists()
