"""How long a training takes to a −ELBO, looks at the validation images not counted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from training.data import Split
from training.fit.step import validate
from training.modalities.image.networks.likelihoods import Bernoulli
from training.models import VAE
from training.models.priors import StandardNormal

SEED = 0
"""Of the posterior's noise at every look: the same for all."""


class Over(Exception):
    """The target is reached, or the time is up."""


@dataclass
class Look:
    seconds: float
    """Of training, until this look."""
    images: int
    """Shown until then."""
    nelbo: float
    """Nats per image over all validation images, one draw of the posterior each."""


@dataclass
class Clock:
    """``tick`` after every step raises ``Over`` when the race is; what it does itself costs no time."""

    held_out: Split
    target: float
    budget: float
    """Seconds."""
    looks: list[Look] = field(default_factory=list)
    images: int = 0
    spent: float = 0.0
    _resumed: float = 0.0
    _next: float = 2.0

    def start(self) -> None:
        """Call once the data are loaded and the model is built."""
        self._resumed = time.perf_counter()

    def tick(self, model: Callable[[], VAE], images: int) -> None:
        """A step of so many images is done; ``model`` gives what would be kept if training ended now."""
        self.images += images
        if self.spent + time.perf_counter() - self._resumed < self._next:
            return
        self.spent += time.perf_counter() - self._resumed
        kept = model()
        training, kind = kept.training, kept.kind
        kept.kind = "vae"  # or an IWAE would be measured by its tighter bound
        nelbo = validate(kept.eval(), self.held_out, seed=SEED, beta=1.0)["loss"]
        kept.kind = kind
        kept.train(training)
        self.looks.append(Look(self.spent, self.images, nelbo))
        if self.reached or self.spent >= self.budget:
            raise Over
        self._next = self.spent + max(1.0, 0.04 * self.spent)
        self._resumed = time.perf_counter()

    @property
    def reached(self) -> bool:
        return bool(self.looks) and self.looks[-1].nelbo <= self.target

    @property
    def best(self) -> float:
        return min(look.nelbo for look in self.looks)


def as_vae(encoder: nn.Module, decoder: nn.Module, image_shape: tuple[int, int, int], *, latents: int) -> VAE:
    """Another library's networks in the form that a look measures: Bernoulli pixels, prior N(0, I)."""
    parts = (encoder, decoder, Bernoulli(), StandardNormal((latents,)))
    return VAE(*parts, kind="vae", image_shape=image_shape, latent_shape=(latents,))
