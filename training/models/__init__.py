"""Networks, and the model that a config describes."""

from training.config import FitConfig
from training.likelihoods import Bernoulli, Gaussian
from training.models import conv, mlp
from training.models.priors import StandardNormal
from training.models.vae import VAE, Kind

__all__ = ["VAE", "build_model"]


def build_model(config: FitConfig, image_shape: tuple[int, int, int]) -> VAE:
    """A model with fresh weights, drawn from torch's global generator.

    ``config`` must be resolved (``training.presets.resolve``): width and likelihood are settled.
    """
    if config.likelihood == "auto" or config.width is None:
        raise ValueError("want a resolved config, its likelihood or width is still open")
    network = mlp if config.network == "mlp" else conv
    parts = (image_shape, config.latent, config.width, config.depth)
    latent_shape = (config.latent,)
    return VAE(
        network.Encoder(*parts),
        network.Decoder(*parts),
        Bernoulli() if config.likelihood == "bernoulli" else Gaussian(),
        StandardNormal(latent_shape),
        kind=_kind(config),
        image_shape=image_shape,
        latent_shape=latent_shape,
    )


def _kind(config: FitConfig) -> Kind:
    if config.model == "ae":
        return "ae"
    return "vae" if config.beta == 1 else "beta_vae"
