"""One optimiser step, and one look at the validation images."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.config import FitConfig
from training.data import Split, to_unit
from training.fit.distributed import ALONE, World
from training.fit.losses import Bound, objective
from training.fit.minibatches import Batch, Stream, generator
from training.fit.running_means import StepTerms
from training.fit.state import State
from training.models import VAE

VALIDATION_BATCH = 500


def train_step(
    state: State,
    batches: Sequence[Batch],
    config: FitConfig,
    *,
    beta: float,
    learning_rate: float,
    world: World = ALONE,
) -> StepTerms:
    """Follow the gradient of the objective once, and let the averaged weights follow.

    ``batches`` are the micro-batches of this process, all of one size; the gradient is the mean over them
    and over the processes, that of the whole batch. A long gradient is clipped, never skipped: a rule
    that skips can stop all learning for good.
    """
    state.optimizer.zero_grad(set_to_none=True)
    terms = torch.stack([_backward(state.model, batch, config, beta, len(batches)) for batch in batches])
    terms = terms.sum(dim=0)
    world.average([*(p.grad for p in state.model.parameters() if p.grad is not None), terms])
    norm = nn.utils.clip_grad_norm_(
        state.model.parameters(), math.inf if config.clip is None else config.clip
    )
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    state.ema.update(state.model, state.step)
    state.step += 1
    loss, distortion, rate = terms.unbind()
    return StepTerms(loss, distortion, rate, norm)


def _backward(model: VAE, batch: Batch, config: FitConfig, beta: float, parts: int) -> Tensor:
    """Add the gradient of one of ``parts`` micro-batches; its share of loss, distortion and rate [3]."""
    bfloat16 = config.precision == "bfloat16"
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bfloat16):
        bound = objective(model, batch.image, batch.noise, beta=beta, free_bits=config.free_bits)
    (bound.loss / parts).backward()
    return torch.stack(bound).detach() / parts


@torch.no_grad()
def validate(model: VAE, split: Split, *, seed: int, beta: float) -> dict[str, float]:
    """Loss, distortion and rate over a whole split in nats per image.

    The noise is the same each time, so one look compares with the next.
    """
    device = next(model.parameters()).device
    source = generator(seed, Stream.VALIDATION)
    totals = torch.zeros(3, dtype=torch.float64)
    for images in split.images.split(VALIDATION_BATCH):
        noise = torch.randn(model.noise_shape(len(images)), generator=source)
        terms = objective(model, to_unit(images.to(device)), noise.to(device), beta=beta)
        totals += len(images) * torch.stack(terms).double().cpu()
    return dict(zip(Bound._fields, (totals / len(split)).tolist(), strict=True))
