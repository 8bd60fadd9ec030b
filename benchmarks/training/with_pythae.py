"""pythae's side of the comparison; imported only where pythae is installed."""

from collections.abc import Mapping
from typing import Any

import torch
from pythae import models
from pythae.data.datasets import BaseDataset
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from benchmarks.training.clock import Clock, as_vae
from training.data import Dataset, to_unit
from training.export.adapters import DecoderAdapter, EncoderAdapter
from training.models import VAE

MANY = 10_000
"""Epochs: the clock ends the training."""


def train(dataset: Dataset, clock: Clock, ours: VAE | None, folder: str, settings: Mapping[str, Any]) -> None:
    """With pythae's default network, or with the two of ``ours``. Raises Over."""
    grey = to_unit(dataset.train.images)
    latent = ours.latent_shape[0] if ours else models.VAEConfig().latent_dim
    config = models.VAEConfig(input_dim=dataset.image_shape, latent_dim=latent, reconstruction_loss="bce")
    networks = {} if ours is None else {"encoder": _Encoder(ours.encoder), "decoder": _Decoder(ours.decoder)}
    model = models.VAE(config, **networks)
    data = BaseDataset(torch.bernoulli(grey), torch.zeros(len(grey)))
    how = BaseTrainerConfig(output_dir=folder, num_epochs=MANY, no_cuda=True, **settings)
    trainer = BaseTrainer(model, data, training_config=how, callbacks=[_Tick(clock, model, data, grey)])
    clock.start()
    trainer.train()


class _Tick(TrainingCallback):
    def __init__(self, clock: Clock, model: nn.Module, data: BaseDataset, grey: Tensor) -> None:
        super().__init__()
        self.clock, self.model, self.data, self.grey = clock, model, data, grey

    def on_epoch_begin(self, training_config: Any, **_: Any) -> None:
        self.data.data = torch.bernoulli(self.grey)

    def on_train_step_end(self, training_config: Any, **_: Any) -> None:
        self.clock.tick(lambda: _kept(self.model), training_config.per_device_train_batch_size)


def _kept(model: Any) -> VAE:
    """For the common measure: pythae's networks in the form of ours."""
    return as_vae(
        EncoderAdapter(model.encoder), _Logits(model.decoder), model.input_dim, latents=model.latent_dim
    )


class _Logits(nn.Module):
    """pythae's decoder ends in a sigmoid."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = DecoderAdapter(decoder)

    def forward(self, latent: Tensor) -> Tensor:
        return torch.logit(self.decoder(latent), eps=1e-6)


class _Encoder(BaseEncoder):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> ModelOutput:
        mean, log_var = self.network(image)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class _Decoder(BaseDecoder):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(latent)))
