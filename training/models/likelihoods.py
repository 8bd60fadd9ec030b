"""p(x|z): what the decoder's logits say about an image.

Shapes: image [B, C, H, W]; logits [..., B, C, H, W] with any leading axes, such as k importance
samples; log_prob [..., B] in nats, summed over pixels. Averaging over pixels instead would multiply
the weight of the rate by their number.
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS = (-3, -2, -1)


class Bernoulli(nn.Module):
    """Each pixel is 0 or 1 with P(1) = sigmoid(logit)."""

    name: ClassVar[Literal["bernoulli"]] = "bernoulli"
    sigma = None

    def log_prob(self, image: Tensor, logits: Tensor) -> Tensor:
        """log p(x|z) in nats: [..., B]."""
        logits = logits.float()
        return (image * logits - F.softplus(logits)).sum(dim=PIXELS)

    def mean(self, logits: Tensor) -> Tensor:
        """E[x|z], in [0, 1]."""
        return torch.sigmoid(logits)


class Gaussian(nn.Module):
    """Normal around sigmoid(logit), with one learned σ for all pixels.

    Source: Rybkin, Daniilidis & Levine 2021, "Simple and effective VAE training with calibrated
    decoders" (arXiv:2006.13202): a learned shared σ balances distortion and rate by itself. σ has a
    soft floor at one grey level of 8-bit images, below which the density would only measure how
    pixels were rounded.
    """

    name: ClassVar[Literal["gaussian"]] = "gaussian"
    floor = math.log(1 / 255)
    pace = 10.0
    """Adam moves a parameter by at most the learning rate a step; log σ has further to go than weights."""

    def __init__(self, sigma: float = 0.2) -> None:
        super().__init__()
        above = torch.tensor(math.log(sigma) - self.floor)
        self.free = nn.Parameter(above.expm1().log() / self.pace)  # the inverse of softplus

    @property
    def log_sigma(self) -> Tensor:
        """Scalar."""
        return self.floor + F.softplus(self.pace * self.free)

    @property
    def sigma(self) -> float:
        """The present σ, in the units of pixels in [0, 1]."""
        return float(self.log_sigma.detach().exp())

    def log_prob(self, image: Tensor, logits: Tensor) -> Tensor:
        """log p(x|z) in nats, a density: [..., B]."""
        error = (image - torch.sigmoid(logits.float())) * (-self.log_sigma).exp()
        return -(0.5 * error.square() + self.log_sigma + 0.5 * math.log(2 * math.pi)).sum(dim=PIXELS)

    def mean(self, logits: Tensor) -> Tensor:
        """E[x|z], in [0, 1]."""
        return torch.sigmoid(logits)
