"""One optimiser step, and one look at the validation images."""

import math

import torch
from torch import Tensor, nn

from training.data import Split, to_unit
from training.draws import Stream, generator
from training.losses import Elbo, elbo
from training.models import VAE
from training.state import State
from training.window import StepTerms

VALIDATION_BATCH = 500


def train_step(
    state: State,
    image: Tensor,
    noise: Tensor,
    *,
    beta: float,
    learning_rate: float,
    clip: float | None,
    bfloat16: bool = False,
) -> StepTerms:
    """Follow the gradient of the negative ELBO once, and let the averaged weights follow.

    Shapes: image [B, C, H, W] in [0, 1]; noise [B, Z]. A long gradient is clipped, never skipped: a
    rule that skips can stop all learning for good.
    """
    with torch.autocast(image.device.type, torch.bfloat16, enabled=bfloat16):
        terms = elbo(state.model, image, noise, beta=beta)
    state.optimizer.zero_grad(set_to_none=True)
    terms.loss.backward()
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), math.inf if clip is None else clip)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate
    state.optimizer.step()
    state.ema.update(state.model, state.step)
    state.step += 1
    return StepTerms(terms.loss.detach(), terms.distortion.detach(), terms.rate.detach(), norm)


@torch.no_grad()
def validate(model: VAE, split: Split, *, seed: int, beta: float) -> dict[str, float]:
    """Loss, distortion and rate over a whole split in nats per image.

    The noise is the same each time, so one look compares with the next.
    """
    device = next(model.parameters()).device
    source = generator(seed, Stream.VALIDATION)
    totals = torch.zeros(3, dtype=torch.float64)
    for images in split.images.split(VALIDATION_BATCH):
        noise = torch.randn((len(images), *model.latent_shape), generator=source)
        terms = elbo(model, to_unit(images.to(device)), noise.to(device), beta=beta)
        totals += len(images) * torch.stack(terms).double().cpu()
    return dict(zip(Elbo._fields, (totals / len(split)).tolist(), strict=True))
