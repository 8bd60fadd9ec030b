"""p(z). Every prior has a density, a rate and a way from noise to latents.

Z stands for the latent axes, of which there may be several.
"""

import math
from typing import ClassVar, Literal

from torch import Tensor, nn

from training.models.gaussians import gaussian_kl


class StandardNormal(nn.Module):
    """N(0, I)."""

    name: ClassVar[Literal["standard_normal"]] = "standard_normal"

    def __init__(self, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = tuple(range(-len(latent_shape), 0))

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats: [..., Z] -> [...]."""
        return -0.5 * (latent.square() + math.log(2 * math.pi)).sum(dim=self.axes)

    def rate(self, mean: Tensor, log_var: Tensor, latent: Tensor) -> Tensor:
        """KL(q(z|x) ‖ p(z)) in nats, in closed form; ``latent``, the sample of q, is not needed.

        Shapes: mean, log_var, latent [B, Z] -> [B].
        """
        return gaussian_kl(mean, log_var)

    def forward(self, noise: Tensor) -> Tensor:
        """From N(0, I) to p(z): here they are the same."""
        return noise
