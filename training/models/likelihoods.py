"""p(x|z): what the decoder's logits say about an image.

Shapes: image [B, C, H, W]; logits [..., B, P, H, W] with P = planes(C) and any leading axes, such as k
importance samples; log_prob [..., B] in nats, summed over pixels. Averaging over pixels instead would
multiply the weight of the rate by their number.
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS = (-3, -2, -1)
TOP_LEVEL = 255
"""Of the 256 of an 8-bit image, which is 1 where pixels are in [0, 1]."""
HALF = TOP_LEVEL / 2


class Bernoulli(nn.Module):
    """Each pixel is 0 or 1 with P(1) = sigmoid(logit)."""

    name: ClassVar[Literal["bernoulli"]] = "bernoulli"
    sigma = None

    def planes(self, channels: int) -> int:
        """Of logits: a chance for each value."""
        return channels

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

    def planes(self, channels: int) -> int:
        """Of logits: a mean for each value."""
        return channels

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


class DiscretisedLogistic(nn.Module):
    """One of 256 levels for each value: a logistic distribution, cut at the middles between levels.

    P(level) = σ((level + ½ − m) / s) − σ((level − ½ − m) / s), and what lies below 0 or above 255 belongs to
    these: location m and scale s of each value come from the decoder, both in levels. These are
    probabilities, so nats are never below 0, and bits per dimension compare with those of other models of
    8-bit images. An image between levels is taken for the nearest one.

    Source: Kingma et al. 2016 (arXiv:1606.04934), section 4; Salimans et al. 2017 (arXiv:1701.05517),
    section 2.1, one component and colours independent given z.
    """

    name: ClassVar[Literal["discretised_logistic"]] = "discretised_logistic"
    sigma = None
    log_scale_range = (math.log(0.11), math.log(255))
    """At the lower end a level has up to 98 % of the probability, at the upper one all have about as much."""
    first_scale = 32.0
    """Levels, of a logit of 0: near the spread of photographs."""

    def planes(self, channels: int) -> int:
        """Of logits: all locations, then all scales."""
        return 2 * channels

    def log_prob(self, image: Tensor, logits: Tensor) -> Tensor:
        """log P(x|z) in nats: [..., B].

        The difference of two sigmoids is never taken: for a > b, σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b − a)),
        and 1 − e^(−d) = tanh(d / 2) (1 + e^(−d)), so nothing cancels or underflows in float32.
        """
        location, log_scale = self.location_and_log_scale(logits)
        level = (image * TOP_LEVEL).round()
        width = (-log_scale).exp()  # of a level, in units of the scale
        centred = (level - location) * width
        below = F.softplus(-centred - 0.5 * width)  # −log P(at most this level)
        above = F.softplus(centred - 0.5 * width)
        between = (0.5 * width).tanh().log() + F.softplus(-width)
        is_lowest, is_highest = level <= 0, level >= TOP_LEVEL
        nats = below.masked_fill(is_highest, 0) + above.masked_fill(is_lowest, 0)
        return (between.masked_fill(is_lowest | is_highest, 0) - nats).sum(dim=PIXELS)

    def mean(self, logits: Tensor) -> Tensor:
        """E[x|z], in [0, 1], for any scale to half a level.

        It is a sum over 255 middles between levels of P(above); the integral of that is closed. They differ
        by less than 1/100 of a level from a scale of one level on.
        """
        location, log_scale = self.location_and_log_scale(logits)
        scale, width = log_scale.exp(), (-log_scale).exp()
        above = F.softplus(location * width) - F.softplus((location - TOP_LEVEL) * width)
        return (scale * above / TOP_LEVEL).clamp(0, 1)

    def moved(self, logits: Tensor, by: Tensor) -> Tensor:
        """Logits whose locations lie ``by`` [..., B, C, H, W] higher, in units of pixels in [0, 1]."""
        location, log_scale = logits.chunk(2, dim=-3)
        return torch.cat([location + by * (TOP_LEVEL / HALF), log_scale], dim=-3)

    def location_and_log_scale(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """[..., B, C, H, W] each, in levels."""
        location, log_scale = logits.float().chunk(2, dim=-3)
        low, high = self.log_scale_range
        share = (math.log(self.first_scale) - low) / (high - low)
        start = math.log(share / (1 - share))
        return HALF * (1 + location), low + (high - low) * torch.sigmoid(log_scale + start)


Likelihood = Bernoulli | Gaussian | DiscretisedLogistic
LIKELIHOODS: dict[str, type[Likelihood]] = {
    known.name: known for known in (Bernoulli, Gaussian, DiscretisedLogistic)
}
