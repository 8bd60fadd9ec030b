"""Exponential moving average of the weights: what is evaluated and exported."""

import copy

import torch
from torch import Tensor

from training.models import VAE


class Ema:
    """A copy of the model whose floating-point parameters and buffers follow those of the model."""

    def __init__(self, model: VAE, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: VAE, step: int) -> None:
        """Take in the weights after step ``step`` (from 0).

        The decay begins small, so that the random weights of the start are soon forgotten.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = _tensors(self.model), _tensors(model)
        pairs = list(zip(averaged, current, strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [new for _, new in floats], 1 - decay)
        for mine, new in pairs:
            if not mine.is_floating_point():
                mine.copy_(new)


def _tensors(model: VAE) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
