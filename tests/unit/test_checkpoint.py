"""Checkpoints: whole or absent, the last two kept, a damaged one passed over."""

import logging

import pytest
import torch

from training.runs import checkpoint
from training.runs.checkpoint import (
    load_best,
    load_latest,
    lowest_loss,
    optimizer_tensors,
    restore_optimizer,
    save,
)
from training.training_error import TrainingError


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"model.weight": torch.full((64, 64), value), "ema.weight": torch.full((64, 64), -value)}


@pytest.fixture
def folder(tmp_path):
    for step in (9, 10, 100):
        save(tmp_path, step, tensors(step), owner="me")
    return tmp_path


def test_the_last_two_are_kept(folder):
    """By step, not by name or time, and without left-overs of writing."""
    assert sorted(path.name for path in folder.iterdir()) == [
        "step-00000010.safetensors",
        "step-00000100.safetensors",
    ]
    latest = load_latest(folder, owner="me", prefix="ema.")
    assert (latest.step, set(latest.tensors)) == (100, {"ema.weight"})


def test_the_best_outlives_the_last_two(tmp_path, caplog):
    """The lowest loss stays, however old, and is what ``load_best`` gives; the newest is still the latest.

    One that was saved without a look at the validation images is no candidate. If the best is truncated, the
    second best is taken.
    """
    losses = {10: 3.0, 20: 1.0, 30: 2.0, 40: None, 50: 5.0, 60: 4.0}
    for step, loss in losses.items():
        save(tmp_path, step, tensors(step), owner="me", loss=loss)
    kept = [int(path.stem.removeprefix("step-")) for path in checkpoint.files(tmp_path)]
    assert kept == [60, 50, 20]
    assert lowest_loss(tmp_path) == (20, 1.0)
    assert load_best(tmp_path, owner="me").step == 20
    assert load_latest(tmp_path, owner="me").step == 60
    best = checkpoint.files(tmp_path)[2]
    best.write_bytes(best.read_bytes()[:500])
    assert load_best(tmp_path, owner="me").step == 60


def test_without_losses_the_best_is_the_latest(folder):
    """A run that was stopped before it looked at its validation images can be exported too."""
    assert lowest_loss(folder) is None
    assert load_best(folder, owner="me").step == 100


@pytest.mark.parametrize("left", [0, 7, 500, 20_000], ids=lambda left: f"{left} bytes left")
def test_a_truncated_checkpoint_falls_back_to_the_one_before(folder, left, caplog):
    """However much of it is left, the one before is taken, and the user is told."""
    newest = checkpoint.files(folder)[0]
    newest.write_bytes(newest.read_bytes()[:left])
    with caplog.at_level(logging.WARNING):
        latest = load_latest(folder, owner="me")
    assert latest.step == 10
    assert torch.equal(latest.tensors["model.weight"], torch.full((64, 64), 10.0))
    assert str(newest) in caplog.text
    assert "falling back" in caplog.text


def test_without_a_readable_checkpoint_the_error_says_so(folder, tmp_path):
    """None there and none readable are told apart."""
    for path in checkpoint.files(folder):
        path.write_bytes(b"")
    with pytest.raises(TrainingError, match="none of 2 can be read"):
        load_latest(folder, owner="me")
    with pytest.raises(TrainingError, match="found none; train the run first"):
        load_latest(tmp_path / "nowhere", owner="me")


def test_a_checkpoint_of_another_configuration_is_refused(folder):
    """It is not passed over in silence for an older one."""
    with pytest.raises(TrainingError, match=r"step-00000100\.safetensors: belongs to another configuration"):
        load_latest(folder, owner="you")


def test_a_failed_write_leaves_the_old_ones(folder, monkeypatch):
    """A full disk while writing costs only the checkpoint that was being written."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match="No space left"):
        save(folder, 200, tensors(200), owner="me")
    assert load_latest(folder, owner="me").step == 100


def test_optimizer_survives_the_round_trip(tmp_path):
    """Adam goes on exactly as it would have."""

    def steps(optimizer: torch.optim.Optimizer, weight: torch.Tensor, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (weight.square() * torch.arange(4)).sum().backward()
            optimizer.step()

    straight = torch.ones(4, requires_grad=True)
    optimizer = torch.optim.AdamW([straight], lr=0.1, fused=True)
    steps(optimizer, straight, 3)
    save(tmp_path, 3, {"weight": straight, **optimizer_tensors(optimizer)}, owner="me")
    loaded = load_latest(tmp_path, owner="me").tensors
    resumed = loaded.pop("weight").requires_grad_()
    other = torch.optim.AdamW([resumed], lr=0.1, fused=True)
    restore_optimizer(other, loaded)
    steps(optimizer, straight, 3)
    steps(other, resumed, 3)
    assert torch.equal(straight, resumed)
