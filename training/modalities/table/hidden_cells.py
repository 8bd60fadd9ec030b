"""Rows with hidden cells, whose posterior follows that of the whole row: an encoder for rows that lack some.

The bound is that of whole rows, and its gradient knows nothing of what is hidden. Beside it the encoder
learns q(z|x_obs) as the mean over the hidden cells of q(z|x), by KL(q(z|x) ‖ q(z|x_obs)), which is large
where the former lies and the latter does not; docs/decisions/tables.md says what else was tried. B rows have
C columns.
"""

import torch
from torch import Tensor

from training.models import VAE


def hidden_cells(shape: tuple[int, int], source: torch.Generator) -> Tensor:
    """Which of the cells [B, C] are: of each row a share drawn from U(0, 1)."""
    shares = torch.rand((shape[0], 1), generator=source, device=source.device)
    return torch.rand(shape, generator=source, device=source.device) < shares


def hide(features: Tensor, hidden: Tensor) -> Tensor:
    """Features [B, 3C] with these cells [B, C] unknown."""
    return features.masked_fill(hidden.repeat(1, 3), 0.0)


def distance(model: VAE, features: Tensor, shown: Tensor) -> Tensor:
    """KL(q(z|features) ‖ q(z|shown)) in nats, mean over the rows [B, 3C]; the former takes no gradient."""
    with torch.no_grad():
        mean, log_var = (part.float() for part in model.encoder(features))
    other, other_log_var = (part.float() for part in model.encoder(shown))
    ratio = (log_var - other_log_var).exp()
    moved = (mean - other).square() * (-other_log_var).exp()
    kl: Tensor = 0.5 * (other_log_var - log_var + ratio + moved - 1).sum(dim=1)
    return kl.mean()
