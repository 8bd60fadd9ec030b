"""The terms of one step, and their means over the steps between two rows of the log."""

from typing import NamedTuple

import torch
from torch import Tensor


class StepTerms(NamedTuple):
    """Scalars of one step, still on the device; losses in nats per image."""

    loss: Tensor
    distortion: Tensor
    rate: Tensor
    gradient_norm: Tensor
    """Before clipping."""


class RunningMeans:
    """Sums of the steps since the last row. Part of a checkpoint: a resumed run writes the same rows."""

    def __init__(self) -> None:
        self.sums = torch.zeros(len(StepTerms._fields) + 1, dtype=torch.float64)

    def add(self, terms: StepTerms) -> None:
        """One step more. Nothing waits for the device, so a GPU is not held up."""
        stacked = torch.stack([*terms, torch.ones_like(terms.loss)])
        self.sums = self.sums.to(stacked.device) + stacked.double()

    def means(self) -> dict[str, float]:
        """By name; not finite if any of the steps was not."""
        *sums, count = self.sums.tolist()
        return {name: total / max(count, 1) for name, total in zip(StepTerms._fields, sums, strict=True)}

    def clear(self) -> None:
        self.sums = torch.zeros_like(self.sums)
