"""Scores: how well a model explains rows, estimated from many samples of each posterior.

A row of the score graph's queues is one of data with some of its samples, so that the rows of all callers
batch together whatever number of samples each wants. Samples go in blocks of ``BLOCK``, for which the
row is encoded once, and what is left of them one by one. A request hands over a portion at a time:
its memory is bounded, and a single row waits behind a batch, not behind a request.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.batching.batcher import Batcher
from serving.errors import NotOffered
from serving.host.background import Background
from serving.latent.noise import WORK_A_VALUE, standard_normal
from serving.modalities import Modality
from serving.models.first_run import BLOCK

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]

DEFAULT_SAMPLES = 16
MAX_SAMPLES = 10_000
_PORTION_SAMPLES = 1024
_PORTION_BYTES = 32 << 20
"""Of a portion at most, but for one block of a row."""


@dataclass(frozen=True)
class Scores:
    """Nats a row, all [rows]."""

    distortion: Doubles
    rate: Doubles
    nll: Doubles
    column_distortion: Doubles | None
    """By column, [rows, columns], in kinds of data that have columns."""

    @property
    def nelbo(self) -> Doubles:
        return self.distortion + self.rate


class Scorer:
    """The score graph of one model, with its queues.

    Args:
        blocks, singles: the queues of the graph for a row with ``BLOCK`` samples, and with one.
        quantiles: of -ELBO over held-out rows, where the bundle has them.
    """

    def __init__(
        self,
        modality: Modality,
        latent_shape: tuple[int, ...],
        blocks: Batcher,
        singles: Batcher,
        quantiles: Rows | None,
    ) -> None:
        self._latent_shape = latent_shape
        self._latents = math.prod(self._latent_shape)
        self._columns = len(modality.columns)
        self._sample_bytes = 4 * (math.prod(modality.takes.shape) + self._latents)
        self._blocks = blocks
        self._singles = singles
        self._quantiles = quantiles

    async def score(
        self,
        read: Callable[[], Awaitable[Rows]],
        count: int,
        *,
        samples: int,
        seed: int,
        first_row: int,
        time_remaining: Callable[[], float | None],
        background: Background,
    ) -> Scores:
        """Score rows [rows, *modality.takes.shape] with so many samples each.

        Sample j of row i takes the noise of row (first_row + i)·samples + j of the seed.

        Args:
            read: gives the rows; called once there is a place for them.
            count: how many those are said to be.

        Raises:
            ShuttingDown, Overloaded, DeadlineUnreachable, ExecutionFailed: see ``Batcher.submit``.
        """
        with ExitStack() as places:
            self.keep_places(places, count, samples, time_remaining())
            given = await read()
            sums = np.zeros((2, len(given)))  # of distortion and rate over the samples
            by_column = np.zeros((len(given), self._columns))
            log_weight = np.full(len(given), -np.inf)  # logsumexp over the samples
            for rows, draws in self._portions(len(given), samples):
                first = (first_row + rows.start) * samples + draws.start
                shape = (rows.stop - rows.start, draws.stop - draws.start)
                noise = await self._noise(seed, first, math.prod(shape), background)
                drawn = noise.reshape(*shape, *self._latent_shape)
                part = await self._portion(given[rows], drawn, time_remaining, places)
                sums[:, rows] += part.sums
                by_column[rows] += part.by_column
                weight = np.logaddexp.reduce(part.log_weight, axis=1)
                log_weight[rows] = np.logaddexp(log_weight[rows], weight)
        distortion, rate = sums / samples
        nll = math.log(samples) - log_weight
        return Scores(distortion, rate, nll, by_column / samples if self._columns else None)

    async def log_weights(
        self, given: Rows, noise: Rows, time_remaining: Callable[[], float | None]
    ) -> Doubles:
        """log p(x, z) - log q(z|x) of samples z of the rows' posteriors, for a request that is admitted.

        Shapes: rows [rows, *modality.takes.shape], noise [rows, samples, *latent_shape] → [rows, samples].
        """
        found = np.empty(noise.shape[:2])
        with ExitStack() as places:
            for rows, draws in self._portions(*noise.shape[:2]):
                part = await self._portion(given[rows], noise[rows, draws], time_remaining, places)
                found[rows, draws] = part.log_weight
        return found

    def keep_places(self, places: ExitStack, count: int, samples: int, timeout_s: float | None) -> None:
        """For the first portion; the rest of a request follows it. Raises as ``Batcher.expect``."""
        rows, draws = next(self._portions(count, samples), (slice(0, 0), slice(0, 0)))
        for queue, in_all, at_first in zip(
            (self._blocks, self._singles),
            divmod(samples, BLOCK),
            divmod(draws.stop, BLOCK),
            strict=True,
        ):
            queue.check_deadline(count * in_all, timeout_s)
            if at_first:
                places.enter_context(queue.expect(rows.stop * at_first, timeout_s))

    def quantile(self, nelbo: Doubles) -> Rows | None:
        """The share of the held-out rows with a lower -ELBO, 0 to 1: [rows]."""
        if self._quantiles is None:
            return None
        shares = np.linspace(0.0, 1.0, len(self._quantiles))
        return np.interp(nelbo, self._quantiles, shares).astype(np.float32)

    async def _noise(self, seed: int, first: int, rows: int, background: Background) -> Rows:
        def drawn(part: slice) -> Rows:
            return standard_normal(seed, first + part.start, part.stop - part.start, self._latents).astype(
                np.float32
            )

        return np.concatenate(await background.pieces(rows, self._latents * WORK_A_VALUE, drawn))

    def _portions(self, count: int, samples: int) -> Iterator[tuple[slice, slice]]:
        """Rows with all their samples, or one row with some of them."""
        fitting = _PORTION_BYTES // self._sample_bytes
        at_once = max(BLOCK, min(_PORTION_SAMPLES, fitting) // BLOCK * BLOCK)
        whole = max(1, at_once // samples)
        for start in range(0, count, whole):
            for first in range(0, samples, at_once):
                yield (
                    slice(start, min(start + whole, count)),
                    slice(first, min(first + at_once, samples)),
                )

    async def _portion(
        self, given: Rows, noise: Rows, time_remaining: Callable[[], float | None], places: ExitStack
    ) -> "_Portion":
        """Shapes: rows [rows, *modality.takes.shape], noise [rows, samples, *latent_shape]."""
        in_blocks = noise.shape[1] // BLOCK * BLOCK
        parts = [(self._blocks, noise[:, :in_blocks], BLOCK), (self._singles, noise[:, in_blocks:], 1)]
        tasks = [
            asyncio.create_task(
                queue.submit(*_rows(given, some, each), timeout_s=time_remaining(), continues=True)
            )
            for queue, some, each in parts
            if some.size
        ]
        try:
            await asyncio.sleep(0)  # they have queued their rows
            places.close()
            answers = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:  # nobody waits for the other any more
                task.cancel()
            raise
        count, sums = len(given), np.zeros((2, len(given)))
        by_column, weights = np.zeros((count, self._columns)), []
        for distortion, rate, log_weight, *columns in answers:
            means = np.stack([distortion, rate]).astype(np.float64).reshape(2, count, -1)
            sums += means.sum(axis=2) * log_weight.shape[1]
            for some in columns:
                split = some.astype(np.float64).reshape(count, -1, self._columns)
                by_column += split.sum(axis=1) * log_weight.shape[1]
            weights.append(log_weight.astype(np.float64).reshape(count, -1))
        return _Portion(sums, by_column, np.concatenate(weights, axis=1))


@dataclass(frozen=True)
class _Portion:
    """What the graph says of some rows and some of their samples."""

    sums: Doubles
    """Of distortion and rate over the samples, [2, rows]."""
    by_column: Doubles
    """The same of the distortion by column, [rows, columns]."""
    log_weight: Doubles
    """[rows, samples]."""


def _rows(given: Rows, noise: Rows, each: int) -> tuple[Rows, Rows]:
    """A row with ``each`` of its n samples in every row of the queue.

    Shapes: rows [rows, *shape], noise [rows, n, *latent_shape] → [rows·n/each, *shape] and
    [rows·n/each, each, *latent_shape].
    """
    repeated = np.repeat(given, noise.shape[1] // each, axis=0)
    return repeated, noise.reshape(len(repeated), each, *noise.shape[2:])


def scorer_of(scorer: Scorer | None, model: str) -> Scorer:
    """Raises NotOffered for a model without a score graph."""
    if scorer is None:
        raise NotOffered(
            "score.onnx",
            f"model {model}: its bundle has no score graph; want one with a posterior, exported anew",
        )
    return scorer
