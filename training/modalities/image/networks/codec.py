"""Both directions of a model with images at the one end: what is exported, and what pools are fitted to."""

import torch
from torch import Tensor, nn

from training.models.posterior_head import LOG_VAR_RANGE
from training.models.vae import VAE


class ImageEncoder(nn.Module):
    """Image [B, C, H, W] → mean, log_var [B, *latent_shape]."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.is_point = model.kind == "ae"

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.encoder(image)
        if self.is_point:  # an autoencoder never trained its log-variance: as near to a point as it gets
            log_var = torch.full_like(mean, LOG_VAR_RANGE[0])
        return mean, log_var


class ImageDecoder(nn.Module):
    """Latent [B, *latent_shape] → the mean of p(x|z) [B, C, H, W], in [0, 1]."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.decoder = model.decoder
        self.likelihood = model.likelihood

    def forward(self, latent: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(latent))
