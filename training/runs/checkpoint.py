"""Checkpoints: one safetensors file each, written atomically; the last two are kept, and the best.

The best is the one whose averaged weights had the lowest loss on the validation images: what is evaluated and
exported. A training of few images goes on long after that.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from training.training_error import TrainingError

KEPT = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds."""

    path: Path
    step: int
    """Optimiser steps taken."""
    tensors: dict[str, Tensor]


def save(
    folder: Path, step: int, tensors: Mapping[str, Tensor], *, owner: str, loss: float | None = None
) -> Path:
    """Write ``step-<step>.safetensors`` and drop all but the last two and the best.

    The file gets its name when it is complete and on disk: a crash leaves the ones before it intact, and what
    it left half-written the next checkpoint clears away.
    ``owner`` names the configuration, so that no run takes up the checkpoint of another; ``loss`` is that of
    the averaged weights on the validation images, if it was taken.

    Raises:
        TrainingError: it cannot be written.
    """
    target = folder / f"step-{step:08d}.safetensors"
    partial = target.with_suffix(".partial")
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        validated = {} if loss is None else {"loss": repr(loss)}
        save_file(content, partial, metadata={"step": str(step), "owner": owner, **validated})
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    except (OSError, SafetensorError) as exc:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise TrainingError(f"{target}: cannot be written: {exc}") from None
    best = _by_loss(folder)[:1]
    for old in files(folder)[KEPT:]:
        if old not in best:
            old.unlink()
    for left in folder.glob("step-*.partial"):
        left.unlink()
    return target


def files(folder: Path) -> list[Path]:
    """Checkpoint files, the newest first."""
    return sorted(folder.glob("step-*.safetensors"), reverse=True)


def load_latest(folder: Path, *, owner: str, prefix: str = "") -> Checkpoint:
    """The newest checkpoint that can be read, or of it the tensors whose names begin with ``prefix``.

    A truncated one is named in a warning and passed over.

    Raises:
        TrainingError: there is none, or it belongs to another configuration.
    """
    return _first_readable(files(folder), folder, owner, prefix)


def load_best(folder: Path, *, owner: str, prefix: str = "") -> Checkpoint:
    """Like ``load_latest``, but first the one with the lowest loss on the validation images."""
    return _first_readable([*_by_loss(folder), *files(folder)], folder, owner, prefix)


def lowest_loss(folder: Path) -> tuple[int, float] | None:
    """Step and loss of the best checkpoint; None while the validation images were not looked at."""
    best = _by_loss(folder)[:1]
    return (int(best[0].stem.removeprefix("step-")), _loss(best[0])) if best else None


def _by_loss(folder: Path) -> list[Path]:
    """Checkpoints with a known loss, the lowest first, of equals the newest."""
    losses = {path: _loss(path) for path in files(folder)}
    return sorted((path for path in losses if losses[path] < math.inf), key=lambda path: losses[path])


def _loss(path: Path) -> float:
    try:
        with safe_open(path, framework="pt") as file:
            return float((file.metadata() or {}).get("loss", "inf"))
    except (SafetensorError, OSError) as exc:
        log.warning("%s: cannot be read (%s); falling back to another checkpoint", path, exc)
        return math.inf


def _first_readable(found: list[Path], folder: Path, owner: str, prefix: str) -> Checkpoint:
    for path in found:
        try:
            return _load(path, owner, prefix)
        except (SafetensorError, OSError) as exc:
            log.warning("%s: cannot be read (%s); falling back to the checkpoint before it", path, exc)
    came = f"none of {len(found)} can be read" if found else "found none"
    raise TrainingError(f"{folder}: want a checkpoint, {came}; train the run first")


def _load(path: Path, owner: str, prefix: str) -> Checkpoint:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("owner") != owner:
            raise TrainingError(f"{path}: belongs to another configuration than this run's config.json")
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (not a dict)
        tensors = {name: file.get_tensor(name) for name in names}
    return Checkpoint(path, int(metadata["step"]), tensors)


def owner_of(document: Mapping[str, object]) -> str:
    """A digest that names a configuration."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's moments and step counts by parameter number."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of ``optimizer_tensors``; hyperparameters stay those of the config.

    A checkpoint holds every tensor contiguous. Moments get the layout of their parameter again: the fused
    AdamW of CPUs pairs elements in the order of memory, and would apply them to other weights than their own.

    Raises:
        LookupError, ValueError: they are not those of this optimiser's parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = _laid_out(value, parameters[int(number)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """A moment in the memory layout of its parameter; a count of steps as it is."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, device=value.device, requires_grad=False).copy_(value)
