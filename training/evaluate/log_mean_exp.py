"""The logarithm of a mean of exponentials, in one pass over any number of samples."""

import math

import torch
from torch import Tensor


class LogMeanExp:
    """log (1/k) Σ exp(log_weight) for each of B images, samples arriving in chunks.

    Sums are float64 and relative to the largest weight so far, so neither the number of samples nor their
    size matters.
    """

    def __init__(self, images: int, device: torch.device | None = None) -> None:
        self.count = 0
        self._largest = torch.full((images,), -math.inf, dtype=torch.float64, device=device)
        self._sum = torch.zeros_like(self._largest)
        self._sum_of_squares = torch.zeros_like(self._largest)

    def add(self, log_weights: Tensor) -> None:
        """Shape: [n, B], nats."""
        values = log_weights.double()
        largest = torch.maximum(self._largest, values.amax(dim=0))
        scale = (self._largest - largest).exp()
        weights = (values - largest).exp()
        self._sum = self._sum * scale + weights.sum(dim=0)
        self._sum_of_squares = self._sum_of_squares * scale.square() + weights.square().sum(dim=0)
        self._largest = largest
        self.count += len(values)

    @property
    def value(self) -> Tensor:
        """[B] nats."""
        return self._largest + self._sum.log() - math.log(self.count)

    @property
    def effective_samples(self) -> Tensor:
        """[B] (Σ w)² / Σ w², from 1 (one sample carries all the weight) to the number of samples."""
        return self._sum.square() / self._sum_of_squares

    @property
    def largest_share(self) -> Tensor:
        """[B] share of the total weight that the heaviest sample carries."""
        return 1 / self._sum
