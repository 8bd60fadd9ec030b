"""A learned prior: N(0, I) carried to where the posteriors lie by a real NVP flow.

Source: Dinh, Sohl-Dickstein & Bengio 2017, "Density estimation using real NVP" (arXiv:1605.08803), as the
prior of a VAE: Huang et al. 2017 (arXiv:1710.10689, "Learnable explicit density for continuous latent
space"). Affine couplings invert in one pass, so the prior is sampled as cheaply as it is evaluated, and
exports to one graph without a loop.
"""

import math
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from training.gaussians import gaussian_log_density

LARGEST_LOG_SCALE = 2.0
"""A coupling scales by at most e² and at least e⁻²; wilder ones make early training jump."""


def half(latents: int) -> int:
    """How many latents a coupling keeps."""
    return (latents + 1) // 2


class Coupling(nn.Module):
    """One affine coupling over flat latents: the first half of them, in a fixed order, moves the others.

    Begins as the identity, so that training starts from N(0, I).
    """

    def __init__(self, order: Tensor, width: int) -> None:
        super().__init__()
        latents = len(order)
        self.kept = half(latents)
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", order.argsort())
        last = nn.Linear(width, 2 * (latents - self.kept))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        hidden = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(self.kept, width), nn.SiLU(), hidden, nn.SiLU(), last)

    def forward(self, noise: Tensor) -> Tensor:
        """Towards the latents: [..., Z] -> [..., Z]."""
        kept, moved = self._split(noise)
        log_scale, shift = self._affine(kept)
        return self._join(kept, moved * log_scale.exp() + shift)

    def inverse(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the noise: [..., Z] -> [..., Z] and the log-determinant of this way's Jacobian [...]."""
        kept, moved = self._split(latent)
        log_scale, shift = self._affine(kept)
        return self._join(kept, (moved - shift) * (-log_scale).exp()), -log_scale.sum(dim=-1)

    def _affine(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.network(kept).chunk(2, dim=-1)
        return LARGEST_LOG_SCALE * torch.tanh(raw / LARGEST_LOG_SCALE), shift

    def _split(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        ordered = flat.index_select(-1, self.get_buffer("order"))
        return ordered[..., : self.kept], ordered[..., self.kept :]

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([kept, moved], dim=-1).index_select(-1, self.get_buffer("inverse_order"))


class RealNVP(nn.Module):
    """p(z) as a flow of N(0, I); Z stands for the latent axes, which it flattens."""

    name: ClassVar[Literal["flow"]] = "flow"

    def __init__(self, latent_shape: tuple[int, ...], *, couplings: int, width: int) -> None:
        super().__init__()
        self.latent_shape = latent_shape
        latents = math.prod(latent_shape)
        orders = [torch.randperm(latents) for _ in range(0, couplings, 2)]
        # The second of a pair moves what the first kept; so no latent stays where it was.
        pairs = [(order, order.roll(-half(latents))) for order in orders]
        chain = [Coupling(order, width) for pair in pairs for order in pair]
        self.couplings = nn.ModuleList(chain[:couplings])

    def forward(self, noise: Tensor) -> Tensor:
        """From N(0, I) to p(z): [B, Z] -> [B, Z]."""
        flat = noise.flatten(1)
        for coupling in self._steps():
            flat = coupling.forward(flat)
        latent: Tensor = flat.unflatten(1, self.latent_shape)
        return latent

    def _steps(self) -> list[Coupling]:
        return cast(list[Coupling], list(self.couplings))

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats: [..., Z] -> [...]. Always in float32: a log-density has no room for less."""
        with torch.autocast(latent.device.type, enabled=False):
            flat = latent.float().flatten(-len(self.latent_shape))
            log_det = torch.zeros_like(flat[..., 0])
            for coupling in reversed(self._steps()):
                flat, step = coupling.inverse(flat)
                log_det = log_det + step
            return log_det - 0.5 * (flat.square() + math.log(2 * math.pi)).sum(dim=-1)

    def rate(self, mean: Tensor, log_var: Tensor, latent: Tensor) -> Tensor:
        """One-sample estimate of KL(q(z|x) ‖ p(z)) in nats; there is no closed form.

        Shapes: mean, log_var [B, Z]; latent [..., B, Z], samples of q -> [..., B].
        """
        return gaussian_log_density(latent, mean, log_var) - self.log_prob(latent)
