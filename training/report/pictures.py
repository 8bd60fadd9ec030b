"""The pictures of a report."""

import numpy as np
import torch
from torch import Tensor

from serving.bundle import Pools
from training.data import Dataset, to_unit
from training.journal import read_rows
from training.models import VAE
from training.pools import Latents
from training.report.canvas import image_grid
from training.report.latent_map import latent_map
from training.report.loss_curves import loss_curves
from training.runs import Run

COLUMNS = 12
PRIOR_ROWS = 4
MAX_POOL_ROWS = 12
PAIR_ROWS = 4


def pictures(run: Run, model: VAE, dataset: Dataset, latents: Latents) -> dict[str, bytes]:
    """File name to PNG. The model is in evaluation mode on the CPU."""
    labels = dataset.train.labels
    return {
        "samples.png": samples(model, latents),
        "reconstructions.png": reconstructions(model, dataset.test.images),
        "latent_map.png": latent_map(
            latents, None if labels is None else labels.numpy(), dataset.label_names
        ),
        "loss_curves.png": loss_curves(read_rows(run.log_file)),
    }


@torch.inference_mode()
def samples(model: VAE, latents: Latents, *, seed: int = 0) -> bytes:
    """PNG: samples of the prior, then of each pool."""
    noise = torch.randn((PRIOR_ROWS, COLUMNS, *model.latent_shape), generator=_generator(seed))
    rows = [_decoded(model, model.prior(row)) for row in noise]
    names = ["N(0, I)" if model.prior.name == "standard_normal" else "prior"] + [""] * (PRIOR_ROWS - 1)
    shown = latents.entries[:MAX_POOL_ROWS]
    for i, entry in enumerate(shown):
        rows.append(
            _decoded(model, draw(latents.pools, i, COLUMNS, seed=seed).unflatten(1, model.latent_shape))
        )
        names.append(entry.name)
    more = (
        f"; {len(latents.entries) - len(shown)} more pools are not shown"
        if len(latents.entries) > len(shown)
        else ""
    )
    subtitle = f"means of p(x|z): {PRIOR_ROWS} rows from the prior, one row from each pool{more}"
    return image_grid(rows, names, title="Samples", subtitle=subtitle, rules=(PRIOR_ROWS,))


@torch.inference_mode()
def reconstructions(model: VAE, images: Tensor) -> bytes:
    """PNG: test images, and what the decoder makes of their posterior means."""
    chosen = torch.randperm(len(images), generator=_generator(0))[: PAIR_ROWS * COLUMNS]
    rows: list[Tensor] = []
    names: list[str] = []
    rules: list[int] = []
    for originals in to_unit(images[chosen]).split(COLUMNS):
        mean, _ = model.encoder(originals)
        rules.append(len(rows))
        rows += [originals, _decoded(model, mean)]
        names += ["image", "reconstruction"]
    subtitle = "test images, each above the decoded mean of its posterior"
    return image_grid(rows, names, title="Reconstructions", subtitle=subtitle, rules=rules[1:])


def draw(pools: Pools, index: int, count: int, *, seed: int) -> Tensor:
    """[count, Z] samples of one pool."""
    noise = np.random.default_rng((seed, index)).standard_normal(
        (count, pools.mean.shape[1]), dtype=np.float32
    )
    return torch.from_numpy(pools.mean[index] + noise @ pools.cholesky[index].T)


def _decoded(model: VAE, latent: Tensor) -> Tensor:
    return model.likelihood.mean(model.decoder(latent))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
