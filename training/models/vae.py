"""The variational autoencoder: two networks, a likelihood and a prior."""

from typing import Literal

from torch import nn

from training.models.flow import RealNVP
from training.models.likelihood import Likelihood
from training.models.priors import StandardNormal

Kind = Literal["ae", "vae", "beta_vae", "iwae"]


class VAE(nn.Module):
    """Holds the parts; the losses are in ``training.fit.losses``.

    ``encoder(image [B, C, H, W])`` gives mean and log-variance [B, *latent_shape] of q(z|x), and
    ``decoder(latent [B, *latent_shape])`` the logits [B, P, H, W] of ``likelihood``. Rows of another modality
    have other axes, ``data_shape``, and so have what the decoder says of them. A plain autoencoder
    is the same thing of kind "ae": its latent is the mean, its log-variance is not used. Kind "iwae" is
    trained on the bound of ``importance_samples`` samples; every other kind takes one.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Likelihood,
        prior: StandardNormal | RealNVP,
        *,
        kind: Kind,
        image_shape: tuple[int, ...],
        latent_shape: tuple[int, ...],
        importance_samples: int = 1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.prior = prior
        self.kind: Kind = kind
        self.data_shape = image_shape
        self.latent_shape = latent_shape
        self.importance_samples = importance_samples

    @property
    def image_shape(self) -> tuple[int, ...]:
        """``data_shape``, of a model of images."""
        return self.data_shape

    @property
    def samples(self) -> int:
        """Of each posterior that the training objective takes."""
        return self.importance_samples if self.kind == "iwae" else 1

    def noise_shape(self, batch: int, *, samples: int | None = None) -> tuple[int, ...]:
        """Of the noise that the training objective takes: [B, Z], or [k, B, Z] for kind "iwae".

        ``samples`` stands for k, which is ``importance_samples`` where it is left out.
        """
        leading = (samples or self.importance_samples,) if self.kind == "iwae" else ()
        return (*leading, batch, *self.latent_shape)
