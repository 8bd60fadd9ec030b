"""Parts of a model that a config describes whatever kind of data it is for."""

from training.config import FitConfig
from training.models.flow import RealNVP
from training.models.priors import StandardNormal
from training.models.vae import Kind


def prior_of(config: FitConfig, latent_shape: tuple[int, ...]) -> StandardNormal | RealNVP:
    """With fresh weights, drawn from torch's global generator."""
    if config.prior == "normal":
        return StandardNormal(latent_shape)
    return RealNVP(latent_shape, couplings=config.couplings, width=config.coupling_width)


def kind_of(config: FitConfig) -> Kind:
    if config.model != "vae":
        return config.model
    return "vae" if config.beta == 1 else "beta_vae"
