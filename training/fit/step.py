"""One optimiser step, and one look at the validation images."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from training.config import FitConfig
from training.data import Split, to_unit
from training.fit.distributed import ALONE, World
from training.fit.losses import Bound, Objective, Scalar, objective
from training.fit.minibatches import AnyBatch, MaskedBatch, Stream, generator, seeded_networks
from training.fit.running_means import StepTerms
from training.fit.state import State
from training.modalities.table.hidden_cells import distance
from training.models import VAE
from training.models.portions import images_at_once

VALIDATION_BATCH = 500
"""Images at most; fewer where they are large, or come with many importance samples."""


def train_step(
    state: State,
    batches: Sequence[AnyBatch],
    config: FitConfig,
    *,
    beta: float,
    learning_rate: float,
    world: World = ALONE,
    bound: Objective = objective,
) -> StepTerms:
    """Follow the gradient of the objective once, and let the averaged weights follow.

    ``batches`` are the micro-batches of this process, all of one size; the gradient is the mean over them
    and over the processes, that of the whole batch. A long gradient is clipped, never skipped: a rule
    that skips can stop all learning for good.
    """
    for optimizer in state.optimizers.values():
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
    share = 1 - state.ema.decay_at(state.step)
    with randomness(config, state.step, batches[0].image.device):
        terms = descend(state, batches, config, beta=beta, share=share, world=world, bound=bound)
    state.step += 1
    return terms


def descend(
    state: State,
    batches: Sequence[AnyBatch],
    config: FitConfig,
    *,
    beta: Scalar,
    share: Scalar,
    world: World = ALONE,
    bound: Objective = objective,
) -> StepTerms:
    """A step but for what the host decides: gradients are clear, the learning rate is set.

    ``share``: how far the averaged weights follow.
    """
    parts = [_backward(state.model, batch, config, beta, len(batches), bound) for batch in batches]
    terms = torch.stack(parts).sum(dim=0)
    world.average([*(p.grad for p in state.model.parameters() if p.grad is not None), terms])
    norm = nn.utils.clip_grad_norm_(
        state.model.parameters(), math.inf if config.clip is None else config.clip
    )
    for optimizer in state.optimizers.values():
        optimizer.step()
    state.ema.follow(state.model, share)
    loss, distortion, rate = terms.unbind()
    return StepTerms(loss, distortion, rate, norm)


def randomness(config: FitConfig, step: int, device: torch.device) -> AbstractContextManager[None]:
    """For what the networks draw themselves."""
    return seeded_networks(config.seed, step, device) if config.draws_inside else nullcontext()


def _backward(
    model: VAE, batch: AnyBatch, config: FitConfig, beta: Scalar, parts: int, bound: Objective
) -> Tensor:
    """Add the gradient of one of ``parts`` micro-batches; its share of loss, distortion and rate [3]."""
    bfloat16 = config.precision == "bfloat16"
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bfloat16):
        terms = bound(model, batch.image, batch.noise, beta=beta, free_bits=config.free_bits)
        loss = terms.loss
        if isinstance(batch, MaskedBatch):  # beside the bound, and no part of what is reported
            loss = loss + config.following * distance(model, batch.image, batch.hidden)
    (loss / parts).backward()
    return torch.stack(terms).detach() / parts


@torch.no_grad()
def validate(model: VAE, split: Split, *, seed: int, beta: float) -> dict[str, float]:
    """Loss, distortion and rate over a whole split in nats per image.

    The noise is the same each time, so one look compares with the next. Memory is bounded: an image with more
    importance samples than fit is decoded alone, in parts.
    """
    device = next(model.parameters()).device
    source = generator(seed, Stream.VALIDATION)
    totals = torch.zeros(3, dtype=torch.float64)
    rows = images_at_once(model.data_shape, most=VALIDATION_BATCH, samples=model.samples)
    for images in split.images.split(rows):
        image = to_unit(images.to(device))
        totals += len(images) * _bound(model, image, source, beta=beta)
    return dict(zip(Bound._fields, (totals / len(split)).tolist(), strict=True))


def _bound(model: VAE, image: Tensor, source: torch.Generator, *, beta: float) -> Tensor:
    """Loss, distortion and rate [3], means over the images [B, C, H, W], in float64 on the CPU.

    Where all samples do not fit, B is 1, so that the bounds L of parts of n samples join into the one of all
    k: -log (1/k) Σ n exp(-L).
    """
    every = model.samples
    at_once = every if len(image) > 1 else images_at_once(model.data_shape, most=every)
    counts = [min(at_once, every - first) for first in range(0, every, at_once)]
    parts = []
    for count in counts:
        noise = torch.randn(model.noise_shape(len(image), samples=count), generator=source)
        terms = objective(model, image, noise.to(image.device), beta=beta)
        parts.append(torch.stack(terms).double().cpu())
    if len(parts) == 1:
        return parts[0]
    bounds, shares = torch.stack(parts), torch.tensor(counts, dtype=torch.float64) / every
    loss = -(shares.log() - bounds[:, 0]).logsumexp(dim=0)
    return torch.stack([loss, *(shares @ bounds[:, 1:])])
