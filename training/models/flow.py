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

from training.models.gaussians import gaussian_log_density

LARGEST_LOG_SCALE = 2.0
"""A coupling scales by at most e² and at least e⁻²; wilder ones make early training jump."""


class Coupling(nn.Module):
    """What one half of the latents says about scale and shift of the other.

    Begins as the identity, so that training starts from N(0, I).
    """

    def __init__(self, given: int, moved: int, width: int) -> None:
        super().__init__()
        last = nn.Linear(width, 2 * moved)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        hidden = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(given, width), nn.SiLU(), hidden, nn.SiLU(), last)

    def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """[..., given] -> log-scale and shift [..., moved]."""
        raw, shift = self.network(given).chunk(2, dim=-1)
        return LARGEST_LOG_SCALE * torch.tanh(raw), shift


class Block(nn.Module):
    """A fixed permutation of the latents, then a coupling, then one that moves the half that the first kept.

    So no latent stays where it was. The last block of an odd number of couplings has the first alone.
    """

    def __init__(self, latents: int, width: int, *, couplings: int) -> None:
        super().__init__()
        order = torch.randperm(latents)
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", order.argsort())
        self.sizes = ((latents + 1) // 2, latents // 2)
        self.first = Coupling(*self.sizes, width)
        self.second = Coupling(*self.sizes[::-1], width) if couplings > 1 else None

    def forward(self, noise: Tensor) -> Tensor:
        """Towards the latents: [..., Z] -> [..., Z]."""
        one, other = noise.index_select(-1, self.get_buffer("order")).split(self.sizes, dim=-1)
        log_scale, shift = self.first(one)
        other = other * log_scale.exp() + shift
        if self.second is not None:
            log_scale, shift = self.second(other)
            one = one * log_scale.exp() + shift
        return torch.cat([one, other], dim=-1)

    def inverse(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the noise: [..., Z] -> [..., Z] and the log-determinant of this way's Jacobian [...]."""
        one, other = latent.split(self.sizes, dim=-1)
        log_scales = []
        if self.second is not None:
            log_scale, shift = self.second(other)
            one = (one - shift) * (-log_scale).exp()
            log_scales.append(log_scale)
        log_scale, shift = self.first(one)
        other = (other - shift) * (-log_scale).exp()
        log_scales.append(log_scale)
        noise = torch.cat([one, other], dim=-1).index_select(-1, self.get_buffer("inverse_order"))
        return noise, -torch.cat(log_scales, dim=-1).sum(dim=-1)


class RealNVP(nn.Module):
    """p(z) as a flow of N(0, I); Z stands for the latent axes, which it flattens."""

    name: ClassVar[Literal["flow"]] = "flow"

    def __init__(self, latent_shape: tuple[int, ...], *, couplings: int, width: int) -> None:
        super().__init__()
        self.latent_shape = latent_shape
        latents = math.prod(latent_shape)
        numbers = [min(2, couplings - first) for first in range(0, couplings, 2)]
        self.blocks = nn.ModuleList(Block(latents, width, couplings=number) for number in numbers)

    def forward(self, noise: Tensor) -> Tensor:
        """From N(0, I) to p(z): [B, Z] -> [B, Z]."""
        flat = noise.flatten(1)
        for block in self._chain():
            flat = block.forward(flat)
        latent: Tensor = flat.unflatten(1, self.latent_shape)
        return latent

    def _chain(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def log_prob(self, latent: Tensor) -> Tensor:
        """log p(z) in nats: [..., Z] -> [...]. Always in float32: a log-density has no room for less."""
        with torch.autocast(latent.device.type, enabled=False):
            flat = latent.float().flatten(-len(self.latent_shape))
            log_det = torch.zeros_like(flat[..., 0])
            for block in reversed(self._chain()):
                flat, step = block.inverse(flat)
                log_det = log_det + step
            return log_det - 0.5 * (flat.square() + math.log(2 * math.pi)).sum(dim=-1)

    def rate(self, mean: Tensor, log_var: Tensor, latent: Tensor) -> Tensor:
        """One-sample estimate of KL(q(z|x) ‖ p(z)) in nats; there is no closed form.

        Shapes: mean, log_var [B, Z]; latent [..., B, Z], samples of q -> [..., B].
        """
        return gaussian_log_density(latent, mean, log_var) - self.log_prob(latent)
