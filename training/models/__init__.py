"""The variational autoencoder and its prior; the networks for a kind of data are in its modality's room."""

from training.models.vae import VAE

__all__ = ["VAE"]
