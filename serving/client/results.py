"""What the client gives back.

Of a model of tables ``records`` are the rows, and ``images`` is empty; of a model of images it is the other
way round. N is the number of rows, C, H and W the channels, height and width of an image. ``images`` is
always an array [N, C, H, W]: float32 in the model's value range for the format "float32", uint8 for "uint8"
and "png"; ``png`` holds the files themselves for the format "png" and is empty otherwise.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.client.records.described_table import Table
from serving.client.records.received_records import NO_RECORDS, Records

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Images = NDArray[Any]

_NEAREST = 8
"""Points of a map that a place of it lies between."""
_PLACES_AT_ONCE = 256


@dataclass(frozen=True)
class ServedModel:
    """Which model answered."""

    name: str
    version: int
    digest: str
    """sha256 of the bundle's manifest."""


@dataclass(frozen=True, eq=False)
class Samples:
    """New images or records."""

    model: ServedModel
    seed: int
    """Gives the same rows again."""
    images: Images
    png: list[bytes]
    latents: Floats | None
    """[N, *latent_shape], if they were asked for."""
    first_row: int = 0
    """Index of the first of these rows in the seed's."""
    records: Records = NO_RECORDS


@dataclass(frozen=True, eq=False)
class Posteriors:
    """q(z|x) of every image: Gaussians with diagonal covariance."""

    model: ServedModel
    mean: Floats
    """[N, *latent_shape]: the embedding."""
    log_var: Floats
    """[N, *latent_shape]"""
    latents: Floats | None
    """[N, *latent_shape], one sample of each posterior, if they were asked for."""
    seed: int | None
    """Gives the same latents again; None without latents."""
    pool_probabilities: Floats | None
    """[N, pools], each row sums to 1, if they were asked for and the model has pools."""
    pools: list[str]
    """The columns of ``pool_probabilities``."""


@dataclass(frozen=True, eq=False)
class Scores:
    """How well the model explains each row, in nats summed over pixels or cells; larger is less likely."""

    model: ServedModel
    seed: int
    """Gives the same values again, with the same ``samples``."""
    samples: int
    """Of each posterior."""
    nelbo: Floats
    """[N] −ELBO: distortion + rate."""
    distortion: Floats
    """[N] −log p(x|z), mean over the samples."""
    rate: Floats
    """[N] KL(q(z|x) ‖ p(z))."""
    nll: Floats
    """[N] estimate of −log p(x) by importance weighting."""
    quantile: Floats | None
    """[N] share of the validation images with a lower −ELBO, 0 to 1, if the bundle has their quantiles."""
    column_distortion: Floats | None = None
    """[N, columns] the distortion of each cell, of records: which one is odd; 0 where a cell is unknown."""
    columns: tuple[str, ...] = ()
    """Names of those columns."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images or records of latents; of records the most likely."""

    model: ServedModel
    images: Images
    png: list[bytes]
    records: Records = NO_RECORDS


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """Images or records after encoding and decoding."""

    model: ServedModel
    images: Images
    png: list[bytes]
    latents: Floats | None
    """[N, *latent_shape], the posterior means, if they were asked for."""
    records: Records = NO_RECORDS


@dataclass(frozen=True, eq=False)
class Imputed:
    """Records without unknown or missing cells."""

    model: ServedModel
    seed: int
    """Gives the same records again, with the same ``draws`` and ``samples``."""
    records: Records
    """N times ``draws`` rows: those of the first row that was given, then those of the second."""
    draws: int
    samples: int
    """Of each posterior, of which those of the draws were chosen."""


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A map of the latent space in two dimensions: where images lie that the model was not trained on.

    N is the number of points, Z of latents: the product of the model's latent shape.
    """

    model: ServedModel
    points: Floats
    """[N, 2]; of a model with two latents these are the latents, with more their axes mean nothing."""
    latents: Floats
    """[N, Z] of the same points."""
    labels: list[str]
    """Names that the images have, each once."""
    label_of: Integers | None
    """[N] index into ``labels``, -1 where it is not known; None without labels."""
    pool_of: Integers | None
    """[N] index into the model's pools, -1 where it is not known; None without pools."""
    quantile: Floats | None
    """[N] place of each point's score among the validation images, 0 to 1, if the bundle has scores."""

    def latents_at(self, places: NDArray[Any]) -> Floats:
        """The latents of any places of the map, [M, 2] → [M, Z], to be decoded.

        They are the mean of the 8 nearest points' latents, weighted by 1 / distance² (Shepard 1968), and
        exact at a point. Of a model with two latents a place is its own latent.

        Raises:
            ValueError: other shapes.
        """
        if places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(f"places: want [M, 2], came {list(places.shape)}")
        if np.array_equal(self.points, self.latents):
            return places.astype(np.float32)
        parts = range(0, max(1, len(places)), _PLACES_AT_ONCE)
        return np.concatenate([self._weighted(places[first : first + _PLACES_AT_ONCE]) for first in parts])

    def _weighted(self, places: NDArray[Any]) -> Floats:
        squares = np.square(places[:, None].astype(np.float64) - self.points).sum(axis=2)  # [M, N]
        chosen = np.argsort(squares, axis=1, kind="stable")[:, :_NEAREST]
        near = np.take_along_axis(squares, chosen, axis=1)
        weight = np.zeros_like(near)
        weight[:, 0] = 1.0
        np.divide(near[:, :1], near, out=weight, where=near > 0)  # a sum that is finite, however near
        weight /= weight.sum(axis=1, keepdims=True)
        return np.asarray(np.einsum("mk,mkz->mz", weight, self.latents[chosen]), np.float32)


@dataclass(frozen=True)
class Pool:
    """A kind of data that can be sampled from."""

    name: str
    weight: float
    """Share of the training set."""
    rows: int
    """Rows of the training set it was fitted to."""
    aggregate: bool
    """True for the pool of all the data, which is no kind of data."""


@dataclass(frozen=True)
class Metric:
    """A figure of the training run; nats per image unless its name says otherwise."""

    value: float
    standard_error: float | None


@dataclass(frozen=True)
class Gate:
    """A check that a model had to pass before its bundle was sealed."""

    name: str
    wanted: str
    """The condition, in words."""
    came: str
    passed: bool
    forced: bool
    """True if it did not pass, and the bundle was sealed all the same."""


@dataclass(frozen=True)
class Model:
    """A model in service."""

    name: str
    version: int
    digest: str
    ready: bool
    image_shape: tuple[int, int, int]
    """C, H, W; zeros for a model of tables."""
    value_range: tuple[float, float]
    """Smallest and largest float32 pixel."""
    latent_shape: tuple[int, ...]
    kind: str
    likelihood: str
    prior: str
    pools: tuple[Pool, ...]
    metrics: dict[str, Metric]
    created: datetime
    execution_provider: str
    max_rows: int
    """Rows of one request; the client splits larger jobs by it."""
    dataset: str
    offers_score: bool
    """Whether ``score`` can be called."""
    offers_latent_map: bool = False
    """Whether ``latent_map`` can be called."""
    gates: tuple[Gate, ...] = ()
    modality: str = "image"
    """"image" or "table"."""
    table: Table | None = None
    """Of a model of tables: its columns."""


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model that the server knows of, in service or not."""

    name: str
    version: int
    state: str
    """"ready", "loading", "refused", "available", "unloading" or "missing"; "unknown" of a newer server."""
    reason: str
    """Of the state, in words; empty while the version answers calls."""
    is_default: bool
    """Whether it answers calls that name no version."""
    digest: str
    """Of a version that is loaded."""
    memory_bytes: int
    """That it took as it was loaded; 0 where that is not known."""
    model: Model | None
    """What the server tells of a version in service."""
