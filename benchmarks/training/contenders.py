"""What takes part: each trains in its own way and calls the clock after every step.

All see the training images binarised anew in every epoch, and the same held-out images. Ours are the steps
and schedules of ``vae-train fit`` on its own batches, judged by the averaged weights that it would keep, in
bfloat16 where the preset chooses that; its log and checkpoints, a look every 1,000 steps, are left out.
pythae's trainer runs as it is, with its progress bar and its copy of the best model after each epoch.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.training.clock import Clock, as_vae
from training.config import FitConfig
from training.data import Dataset, to_unit
from training.fit.loop import batches_of
from training.fit.schedule import beta_at, learning_rate_at
from training.fit.state import State
from training.fit.step import train_step
from training.modalities import build_model, resolve
from training.models import VAE

PYTHAE = Path(__file__).parents[2] / ".venv-peers" / "pythae"
CPU = torch.device("cpu")


class Contender(NamedTuple):
    name: str
    what: str
    train: Callable[[Dataset, Clock], None]
    """Raises Over."""


def ours(*, prior: str, **settings: Any) -> Contender:
    """``vae-train fit --preset standard``, by its own steps and schedules."""

    def train(dataset: Dataset, clock: Clock) -> None:
        config = _standard(dataset, prior, **settings)
        state = State.fresh(config, dataset.image_shape, CPU)
        batches = batches_of(state, dataset, config)
        clock.start()
        for step in range(config.total_steps):
            beta, learning_rate = beta_at(step, config), learning_rate_at(step, config)
            train_step(state, batches.at(step), config, beta=beta, learning_rate=learning_rate)
            clock.tick(lambda: state.ema.model, config.batch_size)

    options = [
        f"--prior {prior}",
        *(f"--{name.replace('_', '-')} {value:g}" for name, value in settings.items()),
    ]
    return Contender("vaeserve", f"`vae-train fit --preset standard {' '.join(options)}`", train)


def example(*, standard_network: bool, learning_rate: float = 1e-3, batch_size: int = 128) -> Contender:
    """The recipe of pytorch/examples/vae: one plain loop, Adam, batches from a DataLoader."""

    def train(dataset: Dataset, clock: Clock) -> None:
        model = _our_network(dataset)
        if not standard_network:
            model = as_vae(_Encoder400(), _Decoder400(), (1, 28, 28), latents=20)
        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
        loader = DataLoader(TensorDataset(to_unit(dataset.train.images)), batch_size=batch_size, shuffle=True)
        clock.start()
        while True:
            for (grey,) in loader:
                image = torch.bernoulli(grey)
                optimizer.zero_grad()
                mean, log_var = model.encoder(image)
                latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
                logits = model.decoder(latent)
                distortion = F.binary_cross_entropy_with_logits(logits, image, reduction="sum")
                rate = -0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
                (distortion + rate).backward()
                optimizer.step()
                clock.tick(lambda: model, len(image))

    network = "our network" if standard_network else "its own network (784-400-20)"
    how = f"{network}, Adam {learning_rate:g}, batches of {batch_size}"
    return Contender("pytorch/examples", how, train)


def pythae(*, standard_network: bool, **settings: Any) -> Contender:
    """pythae's VAE in its own trainer; a cross-entropy for the pixels, since its default is no likelihood."""

    def train(dataset: Dataset, clock: Clock) -> None:
        sys.path.insert(0, str(PYTHAE))
        from benchmarks.training import with_pythae

        model = _our_network(dataset) if standard_network else None
        with tempfile.TemporaryDirectory() as folder:
            with_pythae.train(dataset, clock, model, folder, settings)

    network = "our network" if standard_network else "its own network (784-512-10)"
    how = ", ".join(f"{name} {value:g}" for name, value in settings.items()) or "its default settings"
    return Contender("pythae", f"{network}, {how}", train)


def _our_network(dataset: Dataset) -> VAE:
    return build_model(_standard(dataset, "normal", model="vae"), dataset.image_shape)


def _standard(dataset: Dataset, prior: str, **settings: Any) -> FitConfig:
    chosen = {"data": dataset.name, "preset": "standard", "prior": prior, **settings}
    return resolve(FitConfig.parse(chosen), dataset)


class _Encoder400(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mean, self.log_var = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        hidden = F.relu(self.hidden(image.flatten(1)))
        return self.mean(hidden), self.log_var(hidden)


class _Decoder400(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.logits = nn.Linear(20, 400), nn.Linear(400, 784)

    def forward(self, latent: Tensor) -> Tensor:
        logits: Tensor = self.logits(F.relu(self.hidden(latent))).unflatten(1, (1, 28, 28))
        return logits
