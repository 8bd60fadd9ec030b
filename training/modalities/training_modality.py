"""What training asks of a kind of data, and nothing else knows: how it is read, split, modelled and shown."""

from typing import Protocol

from torch import nn

from training.config import FitConfig
from training.data import Dataset, Spec
from training.modalities.data_form import DataForm
from training.models import VAE


class Modality(Protocol):
    """One room of ``training.modalities``."""

    name: str
    """As the bundle's manifest has it."""
    unit: str
    """What a row of the data is called, in the plural."""
    refuses: frozenset[str]
    """Options that mean nothing for it."""

    def takes(self, data: str) -> bool:
        """Whether ``--data`` names data of this kind."""

    def load(self, config: FitConfig, *, labelled: bool = True) -> Dataset:
        """The data set that the config names; without ``labelled`` it is taken for one without labels.

        Raises:
            TrainingError: naming what is missing or does not fit.
        """

    def announce(self, dataset: Dataset, config: FitConfig) -> None:
        """Print what was found. Raises TrainingError for data that do not fit the likelihood."""

    def resolve(self, config: FitConfig, dataset: Dataset, *, processes: int = 1) -> FitConfig:
        """See ``training.modalities.resolve``."""

    def describe_presets(self) -> str:
        """For ``--help``."""

    def build_model(self, config: FitConfig, spec: Spec) -> VAE:
        """With fresh weights, drawn from torch's global generator; ``config`` is resolved."""

    def encoder(self, model: VAE) -> nn.Module:
        """Row [B, *X] → mean, log_var [B, *latent_shape]: what is exported, and what pools are fitted to."""

    def decoder(self, model: VAE) -> nn.Module:
        """Latent [B, *latent_shape] → what a bundle's decoder gives."""

    def score(self, model: VAE) -> nn.Module:
        """What a bundle's score computes: see ``training.models.score``."""

    def form(self, spec: Spec) -> DataForm:
        """What such data are in a bundle."""

    def step_in_words(self, spec: Spec) -> str:
        """ "of one …": whose step takes memory; with the flags that make it less."""
