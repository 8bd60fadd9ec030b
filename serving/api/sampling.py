"""Where the latents of a SampleRequest come from: the prior, a pool or a neighbourhood.

Row i depends on the seed, i and the source alone; no arithmetic here depends on the number of rows. Only
what a graph computes may differ in its last bits with the machine and, on a GPU, with the batch: latents of
a learned prior, the centre that is an image's posterior mean, and images.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, NotFound
from serving.latent.noise import standard_normal
from serving.models.model import Model
from serving.models.scoring import DEFAULT_SAMPLES, MAX_SAMPLES
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import tensors

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]

SOURCES = ("prior", "pool", "neighbourhood")
_MAX_FIRST_ROW = 2**62
MAX_STREAM_ROWS = 2**40
"""Rows of one stream: more than anyone waits for, and far from overflowing the row index."""


def seed_of(request: pb.SampleRequest | pb.EncodeRequest | pb.ScoreRequest) -> int:
    """The seed asked for, or a fresh one."""
    return request.seed if request.HasField("seed") else secrets.randbits(64)


def first_row_of(request: pb.SampleRequest | pb.EncodeRequest | pb.ScoreRequest) -> int:
    """The index of a request's first row in its seed's noise."""
    if not 0 <= request.first_row <= _MAX_FIRST_ROW:
        raise InvalidInput("first_row", f"want 0 to {_MAX_FIRST_ROW}, came {request.first_row}")
    return request.first_row


def samples_of(request: pb.ScoreRequest) -> int:
    """The number of samples of each posterior asked for. Raises InvalidInput."""
    samples = request.samples if request.HasField("samples") else DEFAULT_SAMPLES
    if not 1 <= samples <= MAX_SAMPLES:
        raise InvalidInput("samples", f"want 1 to {MAX_SAMPLES}, came {samples}")
    return samples


def source_of(request: pb.SampleRequest) -> str:
    """One of ``SOURCES``."""
    return request.WhichOneof("source") or "prior"


@dataclass(frozen=True)
class Source:
    """A checked request to sample: rows can be drawn from it in any order and portion."""

    model: Model
    seed: int
    spread: float
    """Factor of the noise: the temperature, times a neighbourhood's spread."""
    pool: str | None
    centre: Doubles | None
    """[1, Z], of a neighbourhood."""
    is_admitted: bool
    """Whether a graph has worked for the request already."""

    async def draw(
        self, first_row: int, rows: int, timeout_s: float | None, *, continues: bool = False
    ) -> Rows:
        """float32 latents [rows, *latent_shape]."""
        noise = standard_normal(self.seed, first_row, rows, self.model.latents)
        noise *= self.spread
        if self.pool is not None and self.model.pools is not None:
            latents = self.model.pools.latents(self.pool, noise)
        elif self.centre is not None:
            latents = self.centre + noise
        else:
            shaped = _rounded(noise).reshape(rows, *self.model.manifest.latent_shape)
            return _finite(await self.model.prior_latents(shaped, timeout_s, continues=continues))
        return _rounded(latents).reshape(rows, *self.model.manifest.latent_shape)


async def open_source(request: pb.SampleRequest, model: Model, timeout_s: float | None) -> Source:
    """Check everything about a request but its count.

    Raises:
        InvalidInput, NotFound: before anything was drawn or queued.
    """
    first_row_of(request)
    spread = 1.0
    if request.HasField("temperature"):
        spread = tensors.finite_at_least_zero(request.temperature, "temperature")
    kind = source_of(request)
    if kind == "pool" and (model.pools is None or request.pool not in model.pools):
        known = ", ".join(entry.name for entry in model.manifest.pools) or "none"
        raise NotFound(
            "pool", request.pool, f"pool: no pool {request.pool!r} in {model.name}; there are: {known}"
        )
    centre = None
    if kind == "neighbourhood":
        spread *= tensors.finite_at_least_zero(request.neighbourhood.spread, "neighbourhood.spread")
        centre = await _centre(request.neighbourhood, model, timeout_s)
    pool = request.pool if kind == "pool" else None
    is_admitted = kind == "neighbourhood" and request.neighbourhood.WhichOneof("centre") == "image"
    is_admitted |= kind == "prior" and model.has_learned_prior
    return Source(model, seed_of(request), spread, pool, centre, is_admitted)


def posterior(mean: Rows, log_var: Rows, seed: int, first_row: int, model: Model) -> Rows:
    """One sample of each posterior N(mean, exp(log_var)): [rows, *latent_shape]."""
    noise = standard_normal(seed, first_row, len(mean), model.latents).reshape(mean.shape)
    return (mean + np.exp(0.5 * log_var.astype(np.float64)) * noise).astype(np.float32)


async def _centre(request: pb.Neighbourhood, model: Model, timeout_s: float | None) -> Doubles:
    """The latent [1, Z] that a neighbourhood is around."""
    form = request.WhichOneof("centre")
    if form == "latent":
        shape = model.manifest.latent_shape
        centre = tensors.to_latents(request.latent, "neighbourhood.latent", shape, max_rows=1)
    elif form == "image":
        image = tensors.to_images(request.image, "neighbourhood.image", model.manifest.image, max_rows=1)
        centre, _ = await model.encode(image, timeout_s)
    else:
        raise InvalidInput("neighbourhood", "want an image or a latent as its centre, came nothing")
    return centre.reshape(1, -1).astype(np.float64)


def _rounded(latents: Doubles) -> Rows:
    """To float32, refusing what does not fit."""
    with np.errstate(over="ignore"):
        return _finite(latents.astype(np.float32))


def _finite(latents: Rows) -> Rows:
    if not np.isfinite(latents).all():
        raise InvalidInput("temperature", "the latents exceed float32; want a smaller temperature or spread")
    return latents
