"""Residual multilayer perceptrons between the cells of a table and its latents.

B is the batch, C the number of modelled columns, W the width.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from serving.bundle.tables import Modelled, Number, Schema
from training.models.posterior_head import PosteriorHead

LARGEST_INPUT = 8.0
"""Standard deviations; the scores of a million training values stay within 5."""


class Residual(nn.Module):
    """x + W₂ silu(W₁ norm(x)): [B, W] -> [B, W]; pre-activation, as in arXiv:2106.11959 for tables."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.second.bias)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.second(self.dropout(F.silu(self.first(self.norm(x)))))
        return x + update


def _trunk(width: int, depth: int, dropout: float) -> nn.Sequential:
    blocks = (Residual(width, dropout) for _ in range(depth))
    return nn.Sequential(*blocks, nn.LayerNorm(width), nn.SiLU())


class Encoder(nn.Module):
    """Features [B, 3C] -> mean, log-variance [B, Z].

    Each cell is a vector of its own for its category, bin or tail, for missing and for unknown; to their sum
    comes what is linear in the scores and the states. While it learns, the scores come with noise, so that
    few rows are not learned by heart (a denoising autoencoder, Im et al. 2017, arXiv:1511.06406).
    """

    first: Tensor
    missing: Tensor

    def __init__(
        self,
        schema: Schema,
        latent: int,
        width: int,
        depth: int,
        *,
        dropout: float = 0.0,
        input_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.columns, self.input_noise = len(schema.modelled), input_noise
        sizes = np.array([codes_of(column) for column in schema.modelled]) + 2
        self.register_buffer("first", torch.tensor(np.cumsum(sizes) - sizes), persistent=False)
        self.register_buffer("missing", torch.tensor(np.cumsum(sizes) - 2), persistent=False)
        self.cell = nn.Embedding(int(sizes.sum()), width)
        nn.init.normal_(self.cell.weight, std=1 / math.sqrt(self.columns))
        self.linear = nn.Linear(2 * self.columns, width)
        self.trunk = _trunk(width, depth, dropout)
        self.head = PosteriorHead(width, latent)
        with torch.no_grad():
            self.head.linear.weight.mul_(0.5)
            self.head.linear.bias.zero_()

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        codes, scores, states = features.split(self.columns, dim=-1)
        known = torch.where(states > 0.5, self.first + codes.long(), self.missing)
        index = torch.where(states.abs() < 0.5, self.missing + 1, known)
        if self.training and self.input_noise:
            scores = scores + self.input_noise * torch.randn_like(scores)
        # Without bound an odd number would drown all else; its distance still counts in the likelihood.
        bounded = scores.clamp(-LARGEST_INPUT, LARGEST_INPUT) * (states > 0.5)
        hidden = self.cell(index).sum(dim=1) + self.linear(torch.cat([bounded, states], dim=-1))
        mean, log_var = self.head(self.trunk(hidden))
        return mean, log_var


class Decoder(nn.Module):
    """[B, Z] -> parameters [B, P] of p(x|z).

    A deviation of a Gaussian column is learned, and the same for all latents: where rows are few, one that
    follows them would explain some of them without end (the calibration of arXiv:2006.13202, by column).
    """

    varies: Tensor

    def __init__(self, schema: Schema, latent: int, width: int, depth: int, *, dropout: float) -> None:
        super().__init__()
        parameters = schema.parameters
        varies = torch.ones(parameters, 1)
        varies[deviations(schema)] = 0.0
        self.register_buffer("varies", varies, persistent=False)
        self.linear = nn.Linear(latent, width)
        self.trunk = _trunk(width, depth, dropout)
        self.output = nn.Linear(width, parameters)
        with torch.no_grad():
            self.output.weight.mul_(0.3)
            self.output.bias.zero_()

    def forward(self, latent: Tensor) -> Tensor:
        hidden = self.trunk(self.linear(latent))
        return F.linear(hidden, self.output.weight * self.varies, self.output.bias)


def deviations(schema: Schema) -> list[int]:
    """Which of the parameters are the log σ of a Gaussian column."""
    numbers = [column for column in schema.modelled if isinstance(column, Number) and column.bins is None]
    return [schema.spans[column.name].stop - 1 for column in numbers]


def codes_of(column: Modelled) -> int:
    """How many a cell of the column may have."""
    if isinstance(column, Number):
        return column.codes
    return max(2, column.logits)
