"""Gated multilayer perceptrons, the network of the VampPrior paper (arXiv:1705.07120)."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from training.models.posterior_head import PosteriorHead


class GatedLinear(nn.Module):
    """(Wx + b) · sigmoid(Vx + c): [B, I] -> [B, O]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.glu(self.linear(x), dim=1)


def _stack(inputs: int, width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(GatedLinear(inputs if layer == 0 else width, width) for layer in range(depth)))


class Encoder(nn.Module):
    """[B, C, H, W] -> mean, log-variance [B, Z]."""

    def __init__(self, image_shape: tuple[int, int, int], latent: int, width: int, depth: int) -> None:
        super().__init__()
        self.hidden = _stack(math.prod(image_shape), width, depth)
        self.head = PosteriorHead(width, latent)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.head(self.hidden(image.flatten(1)))
        return mean, log_var


class Decoder(nn.Module):
    """[B, Z] -> logits [B, P, H, W], whose number of planes the likelihood knows."""

    def __init__(self, logits_shape: tuple[int, int, int], latent: int, width: int, depth: int) -> None:
        super().__init__()
        self.logits_shape = logits_shape
        self.hidden = _stack(latent, width, depth)
        self.output = nn.Linear(width, math.prod(logits_shape))

    def forward(self, latent: Tensor) -> Tensor:
        logits: Tensor = self.output(self.hidden(latent))
        return logits.reshape(-1, *self.logits_shape)
