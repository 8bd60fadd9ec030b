"""Monte Carlo estimates of what a model says about each image, in nats.

N is the number of images, B of those in a chunk, n of draws at once, Z the number of latents.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from training.data import to_unit
from training.evaluate.log_mean_exp import LogMeanExp
from training.models import VAE
from training.models.devices import lay_out
from training.models.gaussians import gaussian_kl_per_dimension, gaussian_log_density
from training.models.portions import images_at_once
from training.training_error import TrainingError

Precision = Literal["float32", "bfloat16"]
FEWEST_DRAWS = 10
"""Distortion and rate are averaged over at least this many draws of the posterior for each image."""
IMAGES_AT_ONCE = 64
"""At most, each with as many draws as fit."""
GPU_PORTIONS = 16
"""What a GPU decodes at once, of what a CPU does: 16,000 images of MNIST."""


@dataclass(frozen=True)
class PerImage:
    """What was estimated for each image, in float64; of an autoencoder, distortion and mean alone."""

    distortion: Tensor
    """[N] -E_q[log p(x|z)]; of an autoencoder, -log p(x|z) at its one latent."""
    mean: Tensor
    """[N, Z] posterior means."""
    rate: Tensor | None
    """[N] KL(q(z|x) ‖ p(z)): in closed form where there is one."""
    kl: Tensor | None
    """[N, Z] KL(q(z_j|x) ‖ N(0, 1)); only where that is the prior, else no rate belongs to one latent."""
    log_likelihood: Tensor | None
    """[N] log (1/k) Σ p(x, z_i) / q(z_i|x), a lower bound of log p(x) in expectation."""
    effective_samples: Tensor | None
    """[N] of the k importance weights."""
    largest_share: Tensor | None
    """[N] share of the heaviest importance weight."""


@torch.inference_mode()
def estimate(
    model: VAE,
    images: Tensor,
    *,
    k: int,
    seed: int,
    decoder: Precision = "float32",
    progress: bool = False,
) -> PerImage:
    """Estimate the ELBO and the importance-weighted bound.

    Exactly k samples enter the bound: Burda, Grosse & Salakhutdinov 2016 (arXiv:1509.00519), equation 8.
    The same model, images, k and seed give the same result on one machine.

    Args:
        model: in evaluation mode; works on the device of its weights, which it lays out channels-last.
        images: [N, C, H, W] uint8 or float32 in [0, 1], binary for a Bernoulli likelihood; portions of them
            alone become float32.
        decoder: what its matrix products are computed in. Everything else is float32, so bfloat16 gives
            the same bound for a decoder that rounds.

    Raises:
        TrainingError: k below 1, or no images.
    """
    if k < 1:
        raise TrainingError(f"--k {k}: want at least 1 importance sample")
    if not len(images):
        raise TrainingError("evaluation: want at least 1 image, came none")
    lay_out(model)
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    chunks = images.split(images_at_once(model.data_shape, most=IMAGES_AT_ONCE))
    with tqdm(total=len(images), unit="image", desc="evaluate", disable=None if progress else True) as bar:
        parts = []
        for chunk in chunks:
            parts.append(_chunk(model, to_unit(chunk.to(device)), k, generator, decoder))
            bar.update(len(chunk))
    return _concatenated(parts)


def _chunk(model: VAE, image: Tensor, k: int, generator: torch.Generator, decoder: Precision) -> PerImage:
    mean, log_var = (part.float() for part in model.encoder(image))
    if model.kind == "ae":
        distortion = -model.likelihood.log_prob(image, _decoded(model, mean, decoder))
        return PerImage(distortion.double(), mean.flatten(1).double(), None, None, None, None, None)
    weights = LogMeanExp(len(image), image.device)
    distortion = torch.zeros(len(image), dtype=torch.float64, device=image.device)
    rate = torch.zeros_like(distortion)
    draws = max(k, FEWEST_DRAWS)
    at_once = images_at_once(image.shape) if image.device.type == "cpu" else _on_gpu(image)
    for start in range(0, draws, at_once):
        n = min(at_once, draws - start)
        noise = torch.randn((n, *mean.shape), generator=generator, device=image.device)
        latent = mean + (0.5 * log_var).exp() * noise
        logits = _decoded(model, latent.flatten(0, 1), decoder).unflatten(0, noise.shape[:2])
        log_prob = model.likelihood.log_prob(image, logits)
        log_ratio = model.prior.log_prob(latent) - gaussian_log_density(latent, mean, log_var)
        if start < k:
            weights.add((log_prob + log_ratio)[: k - start])
        distortion -= log_prob.double().sum(dim=0)
        exact = model.prior.name == "standard_normal"
        rates = model.prior.rate(mean, log_var, latent).expand(n, -1) if exact else -log_ratio
        rate += rates.double().sum(dim=0)
    return PerImage(
        distortion=distortion / draws,
        mean=mean.flatten(1).double(),
        rate=rate / draws,
        kl=_kl_per_latent(model, mean, log_var),
        log_likelihood=weights.value,
        effective_samples=weights.effective_samples,
        largest_share=weights.largest_share,
    )


def _on_gpu(image: Tensor) -> int:
    """Draws at once: as many as keep a GPU busy, which are more than fit the caches of a CPU."""
    return GPU_PORTIONS * images_at_once(image.shape)


def _decoded(model: VAE, latent: Tensor, decoder: Precision) -> Tensor:
    """[n, Z] -> logits [n, P, H, W]."""
    with torch.autocast(latent.device.type, torch.bfloat16, enabled=decoder == "bfloat16"):
        logits: Tensor = model.decoder(latent)
    return logits


def _kl_per_latent(model: VAE, mean: Tensor, log_var: Tensor) -> Tensor | None:
    if model.prior.name != "standard_normal":
        return None
    return gaussian_kl_per_dimension(mean, log_var).flatten(1).double()


def _concatenated(parts: list[PerImage]) -> PerImage:
    def whole(name: str) -> Any:
        column = [getattr(part, name) for part in parts]
        return None if column[0] is None else torch.cat(column).cpu()

    return PerImage(**{field.name: whole(field.name) for field in fields(PerImage)})
