"""``metrics.json``: the figures of a model, each with its standard error, and how they were taken."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from training.evaluate.estimates import PerImage, Precision
from training.evaluate.tables import Group
from training.training_error import TrainingError

ACTIVE_VARIANCE = 0.01
"""A latent whose posterior mean varies more than this over images is active (arXiv:1509.00519, section 5)."""
DOMINATED = 0.5
"""The share of one importance weight from which on a bound is mostly one sample's."""
GREY_LEVELS = 255
"""Steps of a pixel between 0 and 1."""
DISCRETE = frozenset({"discretised_logistic"})
"""Likelihoods that are probabilities of all the levels that an 8-bit pixel value can have."""
BITS = {
    "bits_per_dim": "−ELBO, of 256 levels: compares with published bits/dim",
    "bits_per_dim_nll": "NLL, of 256 levels: compares with published bits/dim",
    "bits_per_dim_density": "of a density: compares within one data set alone",
}
"""What bits per dimension mean, by figure: those of a density and those of levels are no equals."""
GROUPS = ("samples", "latents", "ood")
"""Figures beside the likelihood, each group with a protocol of its own."""


@dataclass(frozen=True)
class Figure:
    """In nats per image unless its name says otherwise."""

    value: float
    standard_error: float | None
    """Over images; None where the figure is no mean over images."""


class Protocol(BaseModel):
    """How the figures were taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    split: Literal["val", "test"]
    images: int
    images_in_split: int
    """More than ``images`` where a random subset was evaluated."""
    binarisation: Literal["dynamic", "none"]
    """dynamic: each image was drawn once from Bernoulli(pixel), the same draw in every run."""
    likelihood: str
    """gaussian: a density, not discretised; its nats may be negative and compare within a data set only.
    discretised_logistic: probabilities of 256 levels, whose bits/dim compare with those of other models."""
    weights: Literal["ema"] = "ema"
    """The averaged weights, which are also the ones exported."""
    k: int | None
    """Importance samples; null for an autoencoder."""
    decoder: Precision = "float32"
    """What its matrix products were computed in."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Each draws other noise of one seed."""
    model_seed: int
    evaluation_seed: int
    step: int
    """Optimiser steps of the model evaluated."""
    seconds: float
    images_per_second: float
    training_seconds: float | None
    """Null where the log does not say."""
    training_images_per_second: float | None


@dataclass(frozen=True)
class Metrics:
    """What ``metrics.json`` holds."""

    figures: Mapping[str, Figure]
    """``distortion``, ``active_units``; for a model with a posterior also ``nelbo``, ``rate``, ``nll_<k>``,
    ``effective_samples``, ``dominated_images``; for a Gaussian likelihood ``bits_per_dim_density``, for a
    discretised one ``bits_per_dim`` of the −ELBO and ``bits_per_dim_nll`` of the closer bound."""
    kl_per_dimension: tuple[float, ...]
    """Mean over images of KL(q(z_j|x) ‖ N(0, 1)); empty for an autoencoder and for a learned prior."""
    protocol: Protocol
    """Of the figures above."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Of ``GROUPS`` those that were measured."""

    def document(self) -> dict[str, Any]:
        """Flat: ``nelbo`` beside ``nelbo_se`` beside ``split``; then the groups, each under its name."""
        flat: dict[str, Any] = {}
        for name, figure in self.figures.items():
            flat[name] = figure.value
            if figure.standard_error is not None:
                flat[f"{name}_se"] = figure.standard_error
        groups = {name: group.model_dump() for name, group in self.groups.items()}
        kl = {"kl_per_dimension": list(self.kl_per_dimension)}
        return flat | self.protocol.model_dump() | kl | groups

    def to_json(self) -> str:
        return json.dumps(self.document(), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises TrainingError where the file is missing or is not what ``to_json`` writes."""
        try:
            document = json.loads(path.read_text())
            known = {name: document[name] for name in Protocol.model_fields if name in document}
            protocol = Protocol.model_validate(known)
            kl = tuple(document["kl_per_dimension"])
            groups = {name: Group.model_validate(document.pop(name)) for name in GROUPS if name in document}
            names = [n for n in document if n not in {*Protocol.model_fields, "kl_per_dimension"}]
            values = [name for name in names if not name.endswith("_se")]
            figures = {name: Figure(document[name], document.get(f"{name}_se")) for name in values}
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as exc:
            reason = str(exc).splitlines()[0]
            raise TrainingError(f"{path}: not the metrics of an evaluation: {reason}") from None
        return cls(figures, kl, protocol, groups)


def summarise(estimates: PerImage, protocol: Protocol, *, pixels: int) -> Metrics:
    """Means over images with their standard errors; ``pixels`` is C·H·W."""
    figures = {"distortion": _mean(estimates.distortion)}
    kl: tuple[float, ...] = ()
    if estimates.rate is not None:
        nelbo = _mean(estimates.distortion + estimates.rate)
        figures = {"nelbo": nelbo, "rate": _mean(estimates.rate)} | figures
        kl = () if estimates.kl is None else tuple(estimates.kl.mean(dim=0).tolist())
        if protocol.likelihood == "gaussian":
            figures["bits_per_dim_density"] = _bits_of_a_density(nelbo, pixels)
        if protocol.likelihood in DISCRETE:
            figures["bits_per_dim"] = _bits(nelbo, pixels)
    if estimates.log_likelihood is not None:
        figures[f"nll_{protocol.k}"] = nll = _mean(-estimates.log_likelihood)
        if protocol.likelihood in DISCRETE:
            figures["bits_per_dim_nll"] = _bits(nll, pixels)
    if estimates.effective_samples is not None and estimates.largest_share is not None:
        figures["effective_samples"] = _mean(estimates.effective_samples)
        figures["dominated_images"] = _mean((estimates.largest_share > DOMINATED).double())
    spread = estimates.mean.var(dim=0) if len(estimates.mean) > 1 else torch.zeros(1)
    figures["active_units"] = Figure(float((spread > ACTIVE_VARIANCE).sum()), None)
    return Metrics(figures, kl, protocol)


def bits_per_dim(nats: float, pixels: int) -> float:
    """Bits for each of so many pixel values."""
    return nats / (pixels * math.log(2))


def _bits(nats: Figure, pixels: int) -> Figure:
    error = None if nats.standard_error is None else bits_per_dim(nats.standard_error, pixels)
    return Figure(bits_per_dim(nats.value, pixels), error)


def _bits_of_a_density(nelbo: Figure, pixels: int) -> Figure:
    """-log2 of (density of a pixel · width of a grey level), as if the density were flat within a level."""
    bits = _bits(nelbo, pixels)
    return replace(bits, value=bits.value + math.log2(GREY_LEVELS))


def _mean(values: Tensor) -> Figure:
    """The standard error of one image is unknown, so it is left out."""
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return Figure(float(values.mean()), error)
