"""Networks, and the model that a config describes."""

from torch import nn

from training.config import FitConfig
from training.models import conv, mlp
from training.models.flow import RealNVP
from training.models.likelihoods import Bernoulli, Gaussian
from training.models.priors import StandardNormal
from training.models.vae import VAE, Kind

__all__ = ["VAE", "build_model"]


def build_model(config: FitConfig, image_shape: tuple[int, int, int]) -> VAE:
    """A model with fresh weights, drawn from torch's global generator.

    ``config`` must be resolved (``training.fit.presets.resolve``): width and likelihood are settled.
    """
    if config.likelihood == "auto" or config.width is None:
        raise ValueError("want a resolved config, its likelihood or width is still open")
    parts = (image_shape, config.latent, config.width, config.depth)
    latent_shape = (config.latent,)
    encoder: nn.Module
    decoder: nn.Module
    if config.network == "mlp":
        encoder, decoder = mlp.Encoder(*parts), mlp.Decoder(*parts)
    else:
        encoder = conv.Encoder(*parts, dropout=config.dropout)
        decoder = conv.Decoder(*parts)
    return VAE(
        encoder,
        decoder,
        Bernoulli() if config.likelihood == "bernoulli" else Gaussian(),
        _prior(config, latent_shape),
        kind=_kind(config),
        image_shape=image_shape,
        latent_shape=latent_shape,
        importance_samples=config.importance_samples or 1,
    )


def _prior(config: FitConfig, latent_shape: tuple[int, ...]) -> StandardNormal | RealNVP:
    if config.prior == "normal":
        return StandardNormal(latent_shape)
    return RealNVP(latent_shape, couplings=config.couplings, width=config.coupling_width)


def _kind(config: FitConfig) -> Kind:
    if config.model != "vae":
        return config.model
    return "vae" if config.beta == 1 else "beta_vae"
