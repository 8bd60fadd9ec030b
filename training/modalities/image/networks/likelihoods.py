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
    """One of 256 levels for each value: a mixture of logistics, cut at the middles between levels.

    P(level) = σ((level + ½ − m) / s) − σ((level − ½ − m) / s), and what lies below 0 or above 255 belongs to
    these: location m and scale s of each value come from the decoder, both in levels. Of K components each
    pixel has K weights, which its colours share, so that they rise and fall together; given the component
    they are independent. These are probabilities, so nats are never below 0, and bits per dimension compare
    with those of other models of 8-bit images. An image between levels is taken for the nearest one.

    Source: Salimans et al. 2017 (arXiv:1701.05517), section 2.1, without its means that depend on other
    colours; with one component Kingma et al. 2016 (arXiv:1606.04934), section 4.
    """

    name: ClassVar[Literal["discretised_logistic"]] = "discretised_logistic"
    sigma = None
    log_scale_range = (math.log(0.11), math.log(255))
    """At the lower end a level has up to 98 % of the probability, at the upper one all have about as much."""
    first_scale = 32.0
    """Levels, of a logit of 0: near the spread of photographs."""
    spread: Tensor

    def __init__(self, components: int = 1) -> None:
        super().__init__()
        self.components = components
        # Apart from the first step on, else all components learn the same.
        apart = torch.linspace(-0.4, 0.4, components) if components > 1 else torch.zeros(1)
        self.register_buffer("spread", apart.view(-1, 1, 1, 1), persistent=False)

    def planes(self, channels: int) -> int:
        """Of logits: the weights of K components, then all locations, then all scales."""
        return self.components * (1 + 2 * channels)

    def log_prob(self, image: Tensor, logits: Tensor) -> Tensor:
        """log P(x|z) in nats: [..., B].

        The difference of two sigmoids is never taken: for a > b, σ(a) − σ(b) = σ(a) σ(−b) (1 − e^(b − a)),
        and 1 − e^(−d) = tanh(d / 2) (1 + e^(−d)), so nothing cancels or underflows in float32.
        """
        log_weight, location, log_scale = self.parameters_of(logits)
        level = (image * TOP_LEVEL).round().unsqueeze(-4)
        width = (-log_scale).exp()  # of a level, in units of the scale
        centred = (level - location) * width
        below = F.softplus(-centred - 0.5 * width)  # −log P(at most this level)
        above = F.softplus(centred - 0.5 * width)
        between = (0.5 * width).tanh().log() + F.softplus(-width)
        is_lowest, is_highest = level <= 0, level >= TOP_LEVEL
        nats = below.masked_fill(is_highest, 0) + above.masked_fill(is_lowest, 0)
        values = between.masked_fill(is_lowest | is_highest, 0) - nats
        return (log_weight + values.sum(dim=-3, keepdim=True)).logsumexp(dim=-4).sum(dim=PIXELS)

    def mean(self, logits: Tensor) -> Tensor:
        """E[x|z], in [0, 1], to half a level at most.

        Of a logistic it is a sum over the 255 middles between levels of P(above); the integral of that is
        closed. They differ by less than 1/100 of a level from a scale of one level on.
        """
        log_weight, location, log_scale = self.parameters_of(logits)
        scale, width = log_scale.exp(), (-log_scale).exp()
        above = F.softplus(location * width) - F.softplus((location - TOP_LEVEL) * width)
        means = (scale * above / TOP_LEVEL).clamp(0, 1)
        return (log_weight.exp() * means).sum(dim=-4).clamp(0, 1)  # weights sum to 1 but for rounding

    def moved(self, logits: Tensor, by: Tensor) -> Tensor:
        """Logits whose locations lie ``by`` [..., B, C, H, W] higher, in units of pixels in [0, 1]."""
        weights, location, log_scale = self._split(logits)
        higher = location + (by * (TOP_LEVEL / HALF)).unsqueeze(-4)
        return torch.cat([weights, higher.flatten(-4, -3), log_scale.flatten(-4, -3)], dim=-3)

    def parameters_of(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-weights [..., B, K, 1, H, W]; locations and log-scales [..., B, K, C, H, W], in levels."""
        weights, location, log_scale = self._split(logits.float())
        low, high = self.log_scale_range
        share = (math.log(self.first_scale) - low) / (high - low)
        start = math.log(share / (1 - share))
        return (
            weights.log_softmax(dim=-3).unsqueeze(-3),
            HALF * (1 + self.spread + location),
            low + (high - low) * torch.sigmoid(log_scale + start),
        )

    def _split(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., B, K, H, W], [..., B, K, C, H, W] twice."""
        of_values = (logits.shape[-3] - self.components) // 2
        weights, *others = logits.split([self.components, of_values, of_values], dim=-3)
        location, log_scale = (part.unflatten(-3, (self.components, -1)) for part in others)
        return weights, location, log_scale


Likelihood = Bernoulli | Gaussian | DiscretisedLogistic
