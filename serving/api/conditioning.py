"""Rows of which a part is known: the rest is drawn from what the model makes of it.

By sampling importance resampling, with truncated weights: samples of the posterior that the encoder gives for
what is known, each weighed by how well it explains that (the score graph tells), and one of them chosen for
every draw. What p(x|z) of its latent gives fills the row.

Source: Mattei & Frellsen 2019, "MIWAE: deep generative modelling and imputation of incomplete data sets",
arXiv:1812.02633.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidInput, NotOffered
from serving.host.background import Background
from serving.latent.noise import WORK_A_VALUE, standard_normal, uniform
from serving.latent.resampling import resample
from serving.modalities import on_the_wire
from serving.modalities.wire_form import GivenRows, Known, Partial
from serving.models.model import Model
from serving.models.scoring import MAX_SAMPLES, scorer_of
from serving.pb.vae.v1 import vae_service_pb2 as pb

Rows = NDArray[np.float32]
Doubles = NDArray[np.float64]
TimeRemaining = Callable[[], float | None]

IMPUTE_SAMPLES = 128
"""Of the posterior of each row to be filled, if the request does not say."""
GIVEN_SAMPLES = 1024
"""Of the posterior of given cells, for each block of rows that are drawn from it, in the same case."""
BLOCK_ROWS = 256
"""Rows of a seed that share their samples: those from a multiple of it on."""
_CHOICES = 2
"""The stream of a seed that tells which sample is chosen, one value a row."""
_PORTION_SAMPLES = 1 << 16


def samples_of(request: pb.SampleRequest | pb.ImputeRequest, otherwise: int) -> int:
    """As many as are asked for. Raises InvalidInput."""
    samples = request.samples if request.HasField("samples") else otherwise
    if not 1 <= samples <= MAX_SAMPLES:
        raise InvalidInput("samples", f"want 1 to {MAX_SAMPLES}, came {samples}")
    return samples


def draws_of(request: pb.ImputeRequest, most: int) -> int:
    """The draws of each record. Raises InvalidInput."""
    draws = request.draws if request.HasField("draws") else 1
    if not 1 <= draws <= most:
        raise InvalidInput("draws", f"want 1 to {most}, came {draws}")
    return draws


def check_fills(model: Model) -> None:
    """Raises NotOffered for a model whose rows cannot be filled."""
    if not on_the_wire.wire_of(model.modality).fills:
        kind = model.modality.name
        raise NotOffered("schema.json", f"model {model.name}: it is of {kind}s; want a model of tables")
    scorer_of(model.scorer, model.name)


@dataclass
class Evidence:
    """What is known of some rows, with the posterior of each; n is their number."""

    model: Model
    seed: int
    samples: int
    partial: Partial
    mean: Rows
    """[n, *latent_shape]."""
    log_var: Rows
    background: Background
    _pools: dict[int, tuple[Rows, Doubles]] = field(default_factory=dict)
    """The newest block of a single row, with its samples and their weights: rows of a stream share it."""

    async def fillings(self, first_row: int, draws: int, time_remaining: TimeRemaining) -> Rows:
        """So many latents of each row, of which the first is number ``first_row`` of the seed.

        Sample j of row i takes the noise of row i·samples + j, draw d the choice of row i·draws + d.
        Shape: [n·draws, *latent_shape].
        """
        count = len(self.mean)
        at_once = max(1, _PORTION_SAMPLES // self.samples)
        found = []
        for start in range(0, count, at_once):
            rows = np.arange(start, min(start + at_once, count))
            first = first_row + start
            latents, weights = await self._candidates(rows, first * self.samples, time_remaining)
            values = uniform(self.seed, first * draws, len(rows) * draws, 1, stream=_CHOICES)
            chosen = resample(weights, values.reshape(len(rows), draws))
            found.append(latents[np.arange(len(rows))[:, None], chosen].reshape(-1, *latents.shape[2:]))
        return np.concatenate(found)

    async def drawn(self, first_row: int, rows: int, time_remaining: TimeRemaining) -> Rows:
        """Latents of the rows of a seed that all are of the one row known: [rows, *latent_shape].

        Sample j of the block b of rows takes the noise of row b·samples + j, row i the choice of row i.
        """
        found, end = [], first_row + rows
        for block in range(first_row // BLOCK_ROWS, -(-end // BLOCK_ROWS)):
            if block not in self._pools:
                pool = await self._candidates(np.zeros(1, np.intp), block * self.samples, time_remaining)
                self._pools = {block: pool}
            latents, weights = self._pools[block]
            first, last = max(first_row, block * BLOCK_ROWS), min(end, (block + 1) * BLOCK_ROWS)
            values = uniform(self.seed, first, last - first, 1, stream=_CHOICES)
            found.append(latents[0, resample(weights, values.reshape(1, -1))[0]])
        return np.concatenate(found)

    def known(self, rows: int, draws: int = 1) -> Known:
        """What stays of so many rows, each of them drawn so often."""
        return self.partial.known.rows(np.repeat(np.arange(rows) % len(self.mean), draws))

    async def _candidates(
        self, rows: NDArray[np.intp], first_noise: int, time_remaining: TimeRemaining
    ) -> tuple[Rows, Doubles]:
        """Samples of the posteriors of these rows and their log weights.

        Shapes: [rows, samples, *latent_shape] and [rows, samples].
        """
        shape = self.mean.shape[1:]
        latents = math.prod(shape)

        def work(part: slice) -> Rows:
            some = standard_normal(self.seed, first_noise + part.start, part.stop - part.start, latents)
            return some.astype(np.float32)

        pieces = await self.background.pieces(len(rows) * self.samples, latents * WORK_A_VALUE, work)
        noise = np.concatenate(pieces).reshape(len(rows), self.samples, *shape)
        scorer = scorer_of(self.model.scorer, self.model.name)
        weights = await scorer.log_weights(self.partial.rows[rows], noise, time_remaining)
        # Latents of a negative scale are turned round, as callers see them.
        deviation = np.exp(0.5 * self.log_var[rows]) * np.sign(self.model.manifest.latent_scale)
        found = self.mean[rows][:, None] + deviation[:, None] * noise
        return found.astype(np.float32), weights


async def evidence_of(
    given: GivenRows,
    model: Model,
    max_rows: int,
    *,
    seed: int,
    samples: int,
    time_remaining: TimeRemaining,
    background: Background,
) -> Evidence:
    """Raises InvalidInput, and as ``Batcher.submit``; NotOffered for a model whose rows cannot be filled."""
    check_fills(model)
    said = given.rows_said(max_rows)
    with ExitStack() as places:
        scorer_of(model.scorer, model.name).keep_places(places, said, samples, time_remaining())
        with model.expect("encoder", said, time_remaining()):
            partial = await given.read_partial(max_rows, background)
        mean, log_var = await model.encode(partial.rows, time_remaining(), continues=True)
    return Evidence(model, seed, samples, partial, mean, log_var, background)
