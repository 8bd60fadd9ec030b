"""The last layer of every encoder."""

from torch import Tensor, nn

LOG_VAR_RANGE = (-14.0, 4.0)
"""Standard deviations from 1e-3 to 7.4: wide enough for every posterior that is of use, narrow enough
that one wild image cannot overflow the loss. Part of the encoder, so it is exported with it."""


class PosteriorHead(nn.Module):
    """Features [B, F] -> mean and log-variance of q(z|x), each [B, Z]."""

    def __init__(self, features: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 2 * latent)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.linear(features).chunk(2, dim=1)
        return mean, log_var.clamp(*LOG_VAR_RANGE)
