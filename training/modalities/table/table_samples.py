"""Records drawn from a model of a table."""

import numpy as np
import torch
from torch import Tensor

from serving.bundle.tables import Cells, Schema, draw
from training.models import VAE

ROWS_AT_ONCE = 4096


@torch.inference_mode()
def prior_records(model: VAE, schema: Schema, count: int, *, seed: int, temperature: float = 1.0) -> Cells:
    """Records x ~ p(x|z) of latents z ~ p(z); ``temperature`` is that of p(x|z)."""
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, *model.latent_shape), generator=source)
    parts = [model.prior(part) for part in noise.split(ROWS_AT_ONCE)]
    return records_of(model, schema, torch.cat(parts), seed=seed, temperature=temperature)


@torch.inference_mode()
def records_of(model: VAE, schema: Schema, latents: Tensor, *, seed: int, temperature: float = 1.0) -> Cells:
    """Records x ~ p(x|z) of latents [n, Z], each with uniforms of its own."""
    uniforms = np.random.default_rng((seed, 1))
    columns = len(schema.modelled)
    drawn = []
    for part in latents.split(ROWS_AT_ONCE):
        numbers = uniforms.random((len(part), columns, 3))
        drawn.append(draw(schema, model.decoder(part).numpy(), numbers, temperature))
    return Cells.joined(drawn)
