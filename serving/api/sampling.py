"""Where the latents of a SampleRequest come from: the prior, a pool, a neighbourhood or given cells.

Row i depends on the seed, i and the source alone; no arithmetic here depends on the number of rows. Only
what a graph computes may differ in its last bits with the machine and, on a GPU, with the batch: latents of
a learned prior, the centre that is a row's posterior mean, and what is decoded.
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.api import conditioning
from serving.errors import InvalidInput, NotFound, quoted
from serving.finite import all_finite
from serving.host.background import Background
from serving.latent import interpolation
from serving.latent.noise import WORK_A_VALUE, standard_normal
from serving.latent.pool_set import PoolSet
from serving.metrics.registry import Metrics
from serving.modalities import on_the_wire
from serving.modalities.wire_form import Decoded
from serving.models.model import Model
from serving.models.scoring import DEFAULT_SAMPLES, MAX_SAMPLES
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import tensors

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]

SOURCES = ("prior", "pool", "neighbourhood", "given")
_MAX_FIRST_ROW = 2**62
_POOL_ROWS = 64
"""Drawing from a pool takes a step for each latent, whose cost so many rows share: 4,096 rows of 1,024
latents took 4 s, one row at a time 58. To tell the pool of a row takes the matrix of each pool, which they
share too: 4,096 rows of 256 latents and 10 pools took 0.8 s, one row at a time 6.8."""
_POOL_STEP = 800
"""That step, in steps of arithmetic on a value."""
MAX_STREAM_ROWS = 2**40
"""Rows of one stream: more than anyone waits for, and far from overflowing the row index."""


Seeded = pb.SampleRequest | pb.EncodeRequest | pb.ScoreRequest | pb.ImputeRequest


def seed_of(request: Seeded) -> int:
    """The seed asked for, or a fresh one, which JSON's numbers hold exactly in any language."""
    return request.seed if request.HasField("seed") else secrets.randbits(53)


def first_row_of(request: Seeded) -> int:
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
    background: Background
    evidence: conditioning.Evidence | None = None
    """Of given cells."""

    @property
    def first_graph(self) -> str:
        """The first that works on what is drawn."""
        return "prior" if self._goes_through_the_prior else "decoder"

    @property
    def _goes_through_the_prior(self) -> bool:
        return self.pool is None and self.centre is None and self.model.has_learned_prior

    async def noise(self, first_row: int, rows: int) -> Rows:
        """float32 [rows, *latent_shape]: latents already, but for a learned prior."""
        work = self.model.latents * (WORK_A_VALUE + (self.model.latents if self.pool else 0))
        by_itself = _POOL_STEP * self.model.latents if self.pool else 0
        if self.background.is_little(by_itself + rows * work):
            latents = self._drawn(first_row, slice(0, rows))
        else:
            pieces = await self.background.pieces(
                rows,
                work,
                lambda part: self._drawn(first_row, part),
                by_itself=by_itself,
                least_rows=_POOL_ROWS if self.pool else 1,
            )
            latents = np.concatenate(pieces)
        return latents.reshape(rows, *self.model.manifest.latent_shape)

    async def latents(self, noise: Rows, timeout_s: float | None) -> Rows:
        """What ``noise`` gave, as latents: float32 [rows, *latent_shape]."""
        if not self._goes_through_the_prior:
            return noise
        return _finite(await self.model.prior_latents(noise, timeout_s, continues=True))

    def _drawn(self, first_row: int, part: slice) -> Rows:
        """[rows of the part, Z]; of the prior its noise."""
        noise = standard_normal(self.seed, first_row + part.start, part.stop - part.start, self.model.latents)
        noise *= self.spread
        if self.pool is not None and self.model.pools is not None:
            return _rounded(self.model.pools.latents(self.pool, noise))
        return _rounded(noise if self.centre is None else self.centre + noise)


async def open_source(
    request: pb.SampleRequest,
    model: Model,
    time_remaining: Callable[[], float | None],
    background: Background,
) -> Source:
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
            "pool", request.pool, f"pool: no pool {quoted(request.pool)} in {model.name}; there are: {known}"
        )
    if kind == "given":
        evidence = await _evidence(request, model, time_remaining, background)
        return Source(
            model, evidence.seed, 1.0, None, None, is_admitted=True, background=background, evidence=evidence
        )
    centre = None
    if kind == "neighbourhood":
        spread *= tensors.finite_at_least_zero(request.neighbourhood.spread, "neighbourhood.spread")
        centre = await _centre(request.neighbourhood, model, time_remaining(), background)
    pool = request.pool if kind == "pool" else None
    is_admitted = kind == "neighbourhood" and request.neighbourhood.WhichOneof("centre") != "latent"
    return Source(model, seed_of(request), spread, pool, centre, is_admitted, background)


@dataclass(frozen=True)
class Drawn:
    """Shapes: latents [rows, *latent_shape], decoded as the decoder gives it."""

    latents: Rows
    decoded: Decoded


async def draw(
    source: Source,
    first_row: int,
    rows: int,
    time_remaining: Callable[[], float | None],
    *,
    as_pixels: bool = False,
    continues: bool = False,
) -> Drawn:
    """Rows of the source; they are admitted before noise is drawn, but for those of a request that goes on.

    ``as_pixels``: what is decoded may be bytes already, see ``Model.decode``.

    Raises: as ``Batcher.submit``.
    """
    model = source.model
    if source.evidence:
        latents = await source.evidence.drawn(first_row, rows, time_remaining)
        decoded = await model.decode(latents, time_remaining(), continues=True)
        return Drawn(latents, decoded)
    if continues or source.is_admitted:
        noise = await source.noise(first_row, rows)
    else:
        with model.expect(source.first_graph, rows, time_remaining(), as_pixels=as_pixels):
            noise = await source.noise(first_row, rows)
    latents = await source.latents(noise, time_remaining())
    decoded = await model.decode(latents, time_remaining(), as_pixels=as_pixels, continues=True)
    return Drawn(latents, decoded)


def count(metrics: Metrics, request: pb.SampleRequest, rows: int, model: Model) -> None:
    """Rows that were sampled for a request."""
    source = source_of(request)
    metrics.samples.labels(model.name, source).value += rows
    if source == "pool":
        metrics.pool_samples.labels(model.name, request.pool).value += rows


async def posterior(mean: Rows, log_var: Rows, seed: int, first_row: int, background: Background) -> Rows:
    """One sample of each posterior N(mean, exp(log_var)): [rows, *latent_shape]."""
    latents = math.prod(mean.shape[1:])

    def drawn(part: slice) -> Rows:
        noise = standard_normal(seed, first_row + part.start, part.stop - part.start, latents)
        deviation = np.exp(0.5 * log_var[part].astype(np.float64))
        return (mean[part] + deviation * noise.reshape(deviation.shape)).astype(np.float32)

    return np.concatenate(await background.pieces(len(mean), latents * WORK_A_VALUE, drawn))


async def pool_probabilities(mean: Rows, pools: PoolSet, background: Background) -> Rows:
    """[rows, kinds], see ``PoolSet.probabilities``."""
    points = mean.reshape(len(mean), -1)
    work = len(pools.kinds) * points.shape[1] * (points.shape[1] + WORK_A_VALUE)
    pieces = await background.pieces(
        len(points),
        work,
        lambda part: pools.probabilities(points[part].astype(np.float64)),
        least_rows=_POOL_ROWS,
    )
    return np.concatenate(pieces)


async def walk(points: Rows, steps: int, *, spherical: bool, background: Background) -> Rows:
    """See ``interpolation.walk``."""
    work = steps * math.prod(points.shape[1:]) * WORK_A_VALUE

    def legs(part: slice) -> Rows:
        return interpolation.walk(points[part.start : part.stop + 1], steps, spherical=spherical)

    pieces = await background.pieces(len(points) - 1, work, legs)
    return np.concatenate([*(piece[:-1] for piece in pieces[:-1]), pieces[-1]])


async def _evidence(
    request: pb.SampleRequest,
    model: Model,
    time_remaining: Callable[[], float | None],
    background: Background,
) -> conditioning.Evidence:
    if request.HasField("temperature"):
        raise InvalidInput("temperature", "want none with given cells, whose latents are weighed as they are")
    return await conditioning.evidence_of(
        on_the_wire.wire_of(model.modality).given(request.given, "given"),
        model,
        1,
        seed=seed_of(request),
        samples=conditioning.samples_of(request, conditioning.GIVEN_SAMPLES),
        time_remaining=time_remaining,
        background=background,
    )


async def _centre(
    request: pb.Neighbourhood, model: Model, timeout_s: float | None, background: Background
) -> Doubles:
    """The latent [1, Z] that a neighbourhood is around."""
    if request.WhichOneof("centre") == "latent":
        shape = model.manifest.latent_shape
        centre = tensors.to_latents(request.latent, "neighbourhood.latent", shape, max_rows=1)
    elif given := on_the_wire.given_one(request, model.modality, "neighbourhood"):
        centre, _ = await model.encode(await given.read(1, background), timeout_s)
    else:
        one = on_the_wire.wire_of(model.modality).one
        article = "an" if one[0] in "aeiou" else "a"
        raise InvalidInput("neighbourhood", f"want {article} {one} or a latent as its centre, came nothing")
    return centre.reshape(1, -1).astype(np.float64)


def _rounded(latents: Doubles) -> Rows:
    """To float32, refusing what does not fit."""
    with np.errstate(over="ignore"):
        return _finite(latents.astype(np.float32))


def _finite(latents: Rows) -> Rows:
    if not all_finite(latents):
        raise InvalidInput("temperature", "the latents exceed float32; want a smaller temperature or spread")
    return latents
