"""Training rows with cells that the model is not shown, so that its encoder takes rows that lack some.

What is hidden is no part of the likelihood either, so the loss bounds log p of what is shown: MIWAE (Mattei &
Frellsen 2019, arXiv:1812.02633) with cells that are missing at random. B rows have C columns.
"""

import torch
from torch import Tensor


def hidden_cells(shape: tuple[int, int], source: torch.Generator, rows: float) -> Tensor:
    """Which of the cells [B, C] are: of a share ``rows`` of the rows, each a share drawn from U(0, 1)."""
    count, device = shape[0], source.device
    chosen = torch.rand((count, 1), generator=source, device=device) < rows
    shares = torch.rand((count, 1), generator=source, device=device) * chosen
    return torch.rand(shape, generator=source, device=device) < shares


def hide(features: Tensor, hidden: Tensor) -> Tensor:
    """Features [B, 3C] with these cells [B, C] unknown."""
    return features.masked_fill(hidden.repeat(1, 3), 0.0)
