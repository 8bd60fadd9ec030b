"""What a training carries from step to step, and its way into a checkpoint and back."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from training.config import FitConfig
from training.data import Spec
from training.fit.ema import Ema
from training.fit.minibatches import Stream, generator
from training.fit.optimizers import build_optimizers
from training.fit.running_means import RunningMeans
from training.modalities import build_model
from training.models import VAE
from training.models.devices import lay_out
from training.runs.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from training.training_error import TrainingError


@dataclass
class State:
    model: VAE
    ema: Ema
    optimizers: dict[str, torch.optim.Optimizer]
    """By their name in checkpoints."""
    means: RunningMeans
    """Of the steps since the last row of the log."""
    step: int = 0
    """Optimiser steps taken."""

    @classmethod
    def fresh(cls, config: FitConfig, spec: Spec, device: torch.device) -> Self:
        """The state before the first step; ``spec`` is the data set's."""
        with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU
            torch.manual_seed(generator(config.seed, Stream.WEIGHTS).initial_seed())
            model = build_model(config, spec)
        return cls.of(model.to(device), config)

    @classmethod
    def of(cls, model: VAE, config: FitConfig) -> Self:
        """The same of a model that was built elsewhere."""
        lay_out(model)
        return cls(model, Ema(model, config.ema), build_optimizers(model, config), RunningMeans())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that decides how the training goes on; randomness depends on the step alone."""
        parts = {
            "model": self.model.state_dict(),
            "ema": self.ema.model.state_dict(),
            **{name: optimizer_tensors(optimizer) for name, optimizer in self.optimizers.items()},
            "window": {"sums": self.means.sums},  # the name in checkpoints
        }
        return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint of the same configuration.

        Raises:
            TrainingError: its tensors are not those of this model.
        """
        parts: dict[str, dict[str, Tensor]] = {
            name: {} for name in ("model", "ema", "window", *self.optimizers)
        }
        try:
            for key, value in checkpoint.tensors.items():
                part, name = key.split(".", 1)
                parts[part][name] = value
            self.model.load_state_dict(parts["model"])
            self.ema.model.load_state_dict(parts["ema"])
            for name, optimizer in self.optimizers.items():
                restore_optimizer(optimizer, parts[name])
            self.means.sums = parts["window"]["sums"]
        except (RuntimeError, LookupError, ValueError) as exc:
            raise TrainingError(
                f"{checkpoint.path}: does not fit the run's config.json: {exc!s:.200}"
            ) from None
        self.step = checkpoint.step
