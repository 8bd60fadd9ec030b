"""What each latent is worth: its rate, or where it has none of its own, how far its posterior mean moves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.charts import BLUE, FAINT, Still, chart_png, figure, styled
from training.evaluate import Metrics
from training.evaluate.metrics import ACTIVE_VARIANCE
from training.pools import Latents

MOST_BARS = 200
NAMED_BARS = 64
UNUSED = "#cfd6dd"
TELLING = 0.1
"""Nats: a latent that tells more can be seen in the chart."""


@dataclass(frozen=True)
class Activity:
    """How much each latent says about an image."""

    values: NDArray[np.float64]
    """[Z]"""
    active: NDArray[np.bool_]
    """[Z] whether the posterior mean varies by more than 0.01 over the training images."""
    active_units: int
    """The count of the evaluation, by the same rule on its own images."""
    is_rate: bool
    """In nats; else the variance of the posterior mean over the training images."""

    @property
    def unit(self) -> str:
        """Of ``values``."""
        return "nats" if self.is_rate else "variance"

    @property
    def telling(self) -> int:
        """How many latents tell more than 0.1 nats."""
        return int((self.values > TELLING).sum())


def activity_of(metrics: Metrics, latents: Latents) -> Activity:
    """The rate where the evaluation has one for each latent; an autoencoder and a flow have none."""
    variance = np.diagonal(latents.reference.covariance).astype(np.float64)
    rates = np.asarray(metrics.kl_per_dimension, np.float64)
    return Activity(
        values=rates if len(rates) else variance,
        active=variance > ACTIVE_VARIANCE,
        active_units=int(metrics.figures["active_units"].value),
        is_rate=bool(len(rates)),
    )


def rate_per_latent(activity: Activity) -> Still:
    """Bars, the highest first; at most 200."""
    order = np.argsort(activity.values)[::-1][:MOST_BARS]
    places = np.arange(len(order))
    with styled():
        made = figure(9.6, 3.4)
        name = "nats per image" if activity.is_rate else "variance of the mean"
        ax = made.add_axes((0.07, 0.17, 0.91, 0.78), ylabel=name, xlabel="latent")
        for is_active, colour, label in ((True, BLUE, "active"), (False, UNUSED, "unused")):
            of_kind = activity.active[order] == is_active
            if of_kind.any():
                ax.bar(places[of_kind], activity.values[order][of_kind], color=colour, label=label)
        named = places[:: 1 if len(order) <= NAMED_BARS else len(order) // 20]
        ax.set_xticks(named, [str(latent) for latent in order[named]], size=7 if len(named) > 20 else 9)
        ax.set_xlim(-0.8, max(len(order), 8) - 0.2)
        ax.grid(visible=False, axis="x")
        ax.legend(labelcolor=FAINT)
    title = "Rate of each latent" if activity.is_rate else "Spread of each latent"
    return Still("rate_per_latent.png", title, chart_png(made))
