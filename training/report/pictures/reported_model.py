"""What the pictures of a report are made from, and the ways from latents to images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from serving.bundle import Pools
from training.charts import short
from training.data import Dataset, to_unit
from training.models import VAE
from training.pools import UNKNOWN, Latents, drawn_from, posterior
from training.report.pictures.canvas import columns_for

CANDIDATES = 2000
"""Test images among which those of different kinds are looked for."""
MOST_KINDS = 6


class Example(NamedTuple):
    """A test image."""

    name: str
    """Its label, or a number."""
    image: Tensor
    """[C, H, W] in [0, 1]."""
    mean: Tensor
    """[*latent_shape] of its posterior."""


class NamedPool(NamedTuple):
    """A pool by its place in the tensors."""

    row: int
    name: str


@dataclass(frozen=True)
class ReportedModel:
    """A model in evaluation mode on the CPU, its data, and where they lie in its latent space."""

    model: VAE
    dataset: Dataset
    latents: Latents
    seed: int = 0
    """Of every choice and draw."""
    unit: str = "images"
    """What the data consist of."""

    @property
    def one(self) -> str:
        return self.unit.removesuffix("s")

    @property
    def columns(self) -> int:
        """Images in a row."""
        return columns_for(self.dataset.image_shape)

    @property
    def is_point(self) -> bool:
        """Whether the model is an autoencoder: no posterior, no prior."""
        return self.model.kind == "ae"

    @property
    def has_flow(self) -> bool:
        """Whether the prior is learned."""
        return self.model.prior.name == "flow"

    @property
    def pools(self) -> list[NamedPool]:
        """Of each kind of data; where no kinds are known, the pool of all the data."""
        known = [(i, entry) for i, entry in enumerate(self.latents.entries) if entry.name != UNKNOWN]
        kinds = [(i, entry) for i, entry in known if not entry.aggregate]
        return [NamedPool(i, short(entry.name)) for i, entry in kinds or known]

    @cached_property
    def spread(self) -> Tensor:
        """[*latent_shape] standard deviation over the training images of the posterior means."""
        deviations = np.sqrt(np.diagonal(self.latents.reference.covariance))
        return torch.from_numpy(np.ascontiguousarray(deviations)).reshape(self.model.latent_shape)

    def generator(self, use: int) -> torch.Generator:
        """A fresh one for each use."""
        return torch.Generator().manual_seed(1000 * self.seed + use)

    def noise(self, count: int, use: int) -> Tensor:
        """[count, *latent_shape] ~ N(0, I)."""
        return torch.randn((count, *self.model.latent_shape), generator=self.generator(use))

    @torch.inference_mode()
    def decoded(self, latent: Tensor) -> Tensor:
        """Latents [B, *latent_shape] to means of p(x|z) [B, C, H, W]."""
        return self.model.likelihood.mean(self.model.decoder(latent))

    @torch.inference_mode()
    def encoded(self, image: Tensor) -> Tensor:
        """Images [B, C, H, W] to posterior means [B, *latent_shape]."""
        mean: Tensor = self.model.encoder(image)[0]
        return mean

    @torch.inference_mode()
    def of_prior(self, count: int, use: int) -> Tensor:
        """Images of ``count`` latents of the prior; an autoencoder's is N(0, I) for want of one."""
        return self.decoded(self.model.prior(self.noise(count, use)))

    def of_pool(self, row: int, count: int) -> Tensor:
        """Images of ``count`` latents of a pool."""
        return self.of(self.latents.pools, row, count)

    def of(self, pools: Pools, row: int, count: int) -> Tensor:
        """The same for pools that are not the reported's own."""
        return self.decoded(self._pool_latents(pools, row, count))

    def of_pools(self, count: int) -> Tensor:
        """One image from each pool in turn."""
        order = [self.pools[i % len(self.pools)].row for i in range(count)]
        each = {i: self.of_pool(i, order.count(i)) for i in set(order)}
        return torch.stack([each[i][order[:place].count(i)] for place, i in enumerate(order)])

    def test_images(self, count: int, use: int) -> Tensor:
        """[n ≤ count, C, H, W] in [0, 1], at random."""
        images = self.dataset.test.images
        return to_unit(images[torch.randperm(len(images), generator=self.generator(use))[:count]])

    @cached_property
    def kinds(self) -> Sequence[Example]:
        """Test images of different kinds, at most 6: of different labels, else far apart in latent space."""
        images, labels = self.dataset.test.images, self.dataset.test.labels
        order = torch.randperm(len(images), generator=self.generator(1))[:CANDIDATES]
        if labels is not None and len(labels[order].unique()) > 1:
            chosen = _first_of_each(labels[order])
            names = [short(self.dataset.label_names[int(labels[order[i]])]) for i in chosen]
        else:
            _, candidates = posterior(self.model.encoder, images[order])
            chosen = _far_apart(torch.from_numpy(candidates.mean))
            names = [str(number) for number in range(1, len(chosen) + 1)]
        shown = to_unit(images[order[chosen]])
        means = self.encoded(shown)
        return [Example(*parts) for parts in zip(names, shown, means, strict=True)]

    def _pool_latents(self, pools: Pools, row: int, count: int) -> Tensor:
        draw = np.random.default_rng((self.seed, row))
        noise = draw.standard_normal((count, pools.mean.shape[1]), dtype=np.float32)
        latents = torch.from_numpy(drawn_from(pools, row, noise))
        shaped: Tensor = latents.unflatten(1, self.model.latent_shape)
        return shaped


def _first_of_each(labels: Tensor) -> list[int]:
    """Places of the first image of each label, spread evenly over the labels that there are."""
    there = labels.unique()
    spread = torch.linspace(0, len(there) - 1, min(MOST_KINDS, len(there))).round().long()
    return [int((labels == label).nonzero()[0]) for label in there[spread]]


def _far_apart(points: Tensor) -> list[int]:
    """Rows of [N, Z], each the farthest from those before it; the first is the one nearest to the middle."""
    chosen = [int((points - points.mean(dim=0)).norm(dim=1).argmin())]
    nearest = torch.full((len(points),), torch.inf)
    while len(chosen) < min(MOST_KINDS, len(points)):
        nearest = nearest.minimum((points - points[chosen[-1]]).norm(dim=1))
        chosen.append(int(nearest.argmax()))
    return chosen
