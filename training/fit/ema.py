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

    def decay_at(self, step: int) -> float:
        """At step ``step`` (from 0): small at first, so that the random weights are soon forgotten."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def follow(self, model: VAE, share: float | Tensor) -> None:
        """Go this share of the way to the weights of ``model``; as a tensor, the host has no part in it."""
        averaged, current = _tensors(self.model), _tensors(model)
        pairs = list(zip(averaged, current, strict=True))
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        mine, new = [pair[0] for pair in floats], [pair[1] for pair in floats]
        if isinstance(share, Tensor):
            way = torch._foreach_sub(new, mine)
            torch._foreach_mul_(way, share)
            torch._foreach_add_(mine, way)
        else:
            torch._foreach_lerp_(mine, new, share)
        for kept, exact in pairs:
            if not kept.is_floating_point():
                kept.copy_(exact)


def _tensors(model: VAE) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
