"""Networks for images, and the model that a config describes."""

from torch import nn

from training.config import FitConfig, as_shape
from training.modalities.image.networks import conv, mlp, patches
from training.modalities.image.networks.likelihoods import (
    Bernoulli,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
)
from training.models import VAE
from training.models.from_config import kind_of, prior_of
from training.training_error import TrainingError


def build_model(config: FitConfig, image_shape: tuple[int, int, int]) -> VAE:
    """A model with fresh weights, drawn from torch's global generator.

    ``config`` must be resolved (``training.modalities.resolve``): width and likelihood are settled.
    """
    if config.likelihood == "auto" or config.width is None:
        raise ValueError("want a resolved config, its likelihood or width is still open")
    latent_shape = as_shape(config.latent)
    likelihood = _likelihood(config)
    return VAE(
        *_networks(config, image_shape, latent_shape, config.width, likelihood),
        likelihood,
        prior_of(config, latent_shape),
        kind=kind_of(config),
        image_shape=image_shape,
        latent_shape=latent_shape,
        importance_samples=config.importance_samples or 1,
    )


def check_latents(latent_shape: tuple[int, ...], network: str, image_shape: tuple[int, int, int]) -> None:
    """Raises TrainingError for a map of latents that a network has no place for."""
    if network == "patches":
        patches.check_map(latent_shape, image_shape)
    elif len(latent_shape) > 1:
        came = "x".join(map(str, latent_shape))
        raise TrainingError(f"--latent {came}: a map of latents wants --network patches, came {network}")


def _likelihood(config: FitConfig) -> Likelihood:
    if config.likelihood == "discretised_logistic":
        return DiscretisedLogistic(config.mixture_components)
    return Bernoulli() if config.likelihood == "bernoulli" else Gaussian()


def _networks(
    config: FitConfig,
    image_shape: tuple[int, int, int],
    latent_shape: tuple[int, ...],
    width: int,
    likelihood: Likelihood,
) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder."""
    dropout = config.dropout
    logits_shape = (likelihood.planes(image_shape[0]), *image_shape[1:])
    if config.network == "patches":
        sizes = (latent_shape, width, config.depth)
        return patches.Encoder(image_shape, *sizes, dropout=dropout), patches.Decoder(logits_shape, *sizes)
    parts = (latent_shape[0], width, config.depth)
    if config.network == "mlp":
        return mlp.Encoder(image_shape, *parts), mlp.Decoder(logits_shape, *parts)
    return conv.Encoder(image_shape, *parts, dropout=dropout), conv.Decoder(logits_shape, *parts)
