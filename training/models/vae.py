"""The variational autoencoder: two networks, a likelihood and a prior."""

from typing import Literal

from torch import nn

from training.likelihoods import Bernoulli, Gaussian
from training.models.priors import StandardNormal

Kind = Literal["ae", "vae", "beta_vae"]


class VAE(nn.Module):
    """Holds the parts; the losses are in ``training.losses``.

    ``encoder(image [B, C, H, W])`` gives mean and log-variance [B, *latent_shape] of q(z|x), and
    ``decoder(latent [B, *latent_shape])`` the logits [B, C, H, W] of ``likelihood``. A plain autoencoder
    is the same thing of kind "ae": its latent is the mean, its log-variance is not used.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Bernoulli | Gaussian,
        prior: StandardNormal,
        *,
        kind: Kind,
        image_shape: tuple[int, int, int],
        latent_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.kind: Kind = kind
        self.image_shape = image_shape
        self.latent_shape = latent_shape
