"""Our model, as a user has it: fitted by ``vae-train fit``, then asked for records, scores and missing cells.

n is the number of rows, C of modelled columns.
"""

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from serving.api.conditioning import IMPUTE_SAMPLES
from serving.bundle.tables import Cells, Schema, impute, to_features
from serving.latent.resampling import resample
from training.__main__ import main
from training.data import Dataset
from training.modalities.table.column_score import ColumnScore
from training.modalities.table.table_samples import prior_records
from training.models import VAE
from training.runs import load_run

ROWS_AT_ONCE = 512
SCORE_DRAWS = 16
"""Of the posterior of each row that is scored."""
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A model with its data and what it cost."""

    model: VAE
    dataset: Dataset
    schema: Schema
    steps: int
    wall_s: float
    cpu_s: float
    """Of all threads."""


def fitted(data: Path, run: Path, options: Sequence[str]) -> Fitted:
    """By the command line, in this process.

    Raises:
        RuntimeError: the command failed, with what it said.
    """
    said = io.StringIO()
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(["fit", "--data", str(data), "--run", str(run), "--overwrite", *options])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if status:
        raise RuntimeError(f"vae-train fit: {status}\n{said.getvalue()[-2000:]}")
    loaded = load_run(run)
    dataset = loaded.dataset()
    assert dataset.schema is not None
    return Fitted(loaded.model, dataset, dataset.schema, loaded.config.total_steps, wall, cpu)


def records(ours: Fitted, count: int, *, seed: int) -> Cells:
    """Of the prior."""
    return prior_records(ours.model, ours.schema, count, seed=seed)


@torch.inference_mode()
def scores(ours: Fitted, cells: Cells, *, seed: int) -> tuple[dict[str, Doubles], Doubles]:
    """``nelbo`` and ``distortion`` [n] and the distortion of each column [n, C], in nats; higher is odder."""
    found: dict[str, list[Doubles]] = {"nelbo": [], "distortion": []}
    columns = []
    for features, noise, _ in _portions(ours, cells, SCORE_DRAWS, seed):
        distortion, rate, _, by_column = ColumnScore(ours.model)(features, noise)
        found["nelbo"].append((distortion + rate).double().numpy())
        found["distortion"].append(distortion.double().numpy())
        columns.append(by_column.double().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}, np.concatenate(columns)


@torch.inference_mode()
def fillings(ours: Fitted, cells: Cells, draws: int, *, seed: int) -> list[Cells]:
    """``draws`` times all rows, with what is unknown drawn given the rest, as the server's Impute does."""
    source = np.random.default_rng((seed, 1))
    parts: list[list[Cells]] = [[] for _ in range(draws)]
    for features, noise, part in _portions(ours, cells, IMPUTE_SAMPLES, seed):
        mean, log_var = ours.model.encoder(features)
        _, _, log_weight, _ = ColumnScore(ours.model)(features, noise)
        latents = mean[:, None] + (0.5 * log_var[:, None]).exp() * noise
        chosen = resample(log_weight.double().numpy(), source.random((len(features), draws)))
        for draw in range(draws):
            picked = latents[torch.arange(len(features)), torch.from_numpy(chosen[:, draw])]
            uniforms = source.random((len(features), len(ours.schema.modelled), 3))
            parameters = ours.model.decoder(picked).numpy()
            parts[draw].append(impute(ours.schema, parameters, uniforms, cells.rows(part)))
    return [Cells.joined(portions) for portions in parts]


def _portions(
    ours: Fitted, cells: Cells, draws: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor, slice]]:
    source = torch.Generator().manual_seed(seed)
    features = torch.from_numpy(to_features(ours.schema, cells))
    for first in range(0, len(cells), ROWS_AT_ONCE):
        part = slice(first, min(first + ROWS_AT_ONCE, len(cells)))
        shape = (part.stop - first, draws, *ours.model.latent_shape)
        yield features[part], torch.randn(shape, generator=source), part
