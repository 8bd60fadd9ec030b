"""Improved precision and recall: Kynkäänniemi et al. 2019 (arXiv:1904.06991)."""

from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURS = 3
ROWS = 1000


@dataclass(frozen=True)
class Manifold:
    """The union of balls around feature vectors, each as wide as to its third nearest fellow."""

    centres: Tensor
    """[N, d]"""
    radii: Tensor
    """[N]"""

    @classmethod
    @torch.inference_mode()
    def around(cls, features: Tensor) -> "Manifold":
        """Of features [N, d], N at least 4."""
        rank = NEIGHBOURS + 1  # the nearest is the vector itself
        radii = [
            torch.cdist(rows, features).topk(rank, dim=1, largest=False).values[:, -1]
            for rows in features.split(ROWS)
        ]
        return cls(features, torch.cat(radii))

    @torch.inference_mode()
    def share_inside(self, features: Tensor) -> float:
        """Of feature vectors [M, d], those in at least one ball.

        Samples in the manifold of real images are the precision, real images in that of samples the recall.
        """
        inside = [(torch.cdist(rows, self.centres) <= self.radii).any(dim=1) for rows in features.split(ROWS)]
        return float(torch.cat(inside).float().mean())
