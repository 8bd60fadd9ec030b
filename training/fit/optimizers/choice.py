"""Which optimiser takes care of which weight."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from training.config import FitConfig
from training.fit.optimizers.muon import Muon
from training.models import VAE
from training.models.flow import Coupling


def build_optimizers(model: VAE, config: FitConfig) -> dict[str, torch.optim.Optimizer]:
    """By their name in checkpoints; each has at least one weight, and AdamW, "optimizer", is always there."""
    hidden = list(hidden_weights(model)) if config.optimizer == "muon" else []
    taken = {id(weight) for weight in hidden}
    optimizers: dict[str, torch.optim.Optimizer] = {
        "optimizer": torch.optim.AdamW(
            [weight for weight in model.parameters() if id(weight) not in taken],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
    }
    if hidden:
        optimizers["muon"] = Muon(
            hidden,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            precision=torch.bfloat16 if config.precision == "bfloat16" else torch.float32,
        )
    return optimizers


def hidden_weights(model: VAE) -> Iterator[Tensor]:
    """Weights between hidden units on both sides: of every network all but the first and the last.

    What begins at pixels or latents, or ends there, learns better with AdamW, as do biases.
    """
    couplings = [module for module in model.prior.modules() if isinstance(module, Coupling)]
    for network in (model.encoder, model.decoder, *couplings):
        weights = [parameter for parameter in _in_order(network) if parameter.dim() > 1]
        yield from weights[1:-1]


def _in_order(network: nn.Module) -> Iterator[nn.Parameter]:
    """As data pass through: the networks name their layers in that order."""
    return network.parameters()
