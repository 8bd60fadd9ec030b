"""The decoder of a bundle in less precision, and what that costs: ``vae-train export --precision``.

Encoder, prior and score stay in float32, so latents and likelihoods are those of the model.
"""

import logging
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from serving.bundle import Gate, Likelihood, Precision
from training.export.gates import Admission
from training.export.networks import PARITY_ROWS, Exported, Networks, Rows, export_graphs, sample_rows
from training.export.parity import Floats, cpu_session, parity
from training.export.quantisation import batches, quantised
from training.modalities.image.networks.likelihoods import DiscretisedLogistic
from training.modalities.image.randomised.binarisation import binarise
from training.models.score import Score
from training.pools import posterior
from training.training_error import TrainingError

FILE = "decoder.onnx"
LARGEST_LOSS = 0.5
"""Nats of −ELBO per image that a reduced precision may cost."""
IMAGES = 1000
"""On which the loss is measured, with one draw of each posterior."""
CALIBRATED = 512
"""Latents of the posterior, and as many of the prior."""
TIMED_ROWS = 256
TIMED_RUNS = 7
SMALLEST_CHANCE = 1e-6
"""What a pixel's probability is kept away from 0 and 1 by, where a likelihood is made from it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cost:
    """Of a reduced decoder against the float32 one, on this machine."""

    precision: Precision
    loss: float
    """Nats of −ELBO per image more; the rate is the same, so it is the distortion that differs."""
    standard_error: float
    mib: tuple[float, float]
    """Size of the file before and after."""
    microseconds: tuple[float, float]
    """For a row in a batch of 256, one thread of this CPU, before and after."""

    @property
    def gate(self) -> Gate:
        """Passed where the loss is at most half a nat."""
        return Gate(
            name=f"precision {self.precision}",
            wanted=f"at most {LARGEST_LOSS} nats of −ELBO lost",
            came=f"{self.loss:+.3f} ± {self.standard_error:.3f}",
            passed=bool(self.loss <= LARGEST_LOSS),  # not where it is not a number
            forced=False,
        )

    def describe(self) -> str:
        """A line for the terminal."""
        (before, after), (slow, fast) = self.mib, self.microseconds
        return (
            f"precision decoder in {self.precision}: {before:.2f} → {after:.2f} MiB, "
            f"{slow:.0f} → {fast:.0f} µs a row on this CPU, "
            f"−ELBO {self.loss:+.3f} ± {self.standard_error:.3f} nats"
        )


def graphs_of(
    networks: Networks,
    images: Tensor,
    golden_rows: Rows,
    likelihood: Likelihood,
    precision: Precision,
    admission: Admission,
) -> tuple[Exported, Rows]:
    """The graphs of a bundle, and the golden rows as they answer them; the gates of both are noted.

    Raises:
        TrainingError: a network that cannot be exported, converted or measured.
    """
    exported = export_graphs(networks, images, admission)
    if precision == "float32":
        return exported, golden_rows
    return with_precision(networks, images, exported, golden_rows, likelihood, precision, admission)


@torch.inference_mode()
def with_precision(
    networks: Networks,
    images: Tensor,
    exported: Exported,
    golden_rows: Rows,
    likelihood: Likelihood,
    precision: Precision,
    admission: Admission,
) -> tuple[Exported, Rows]:
    """Convert the decoder and measure what that costs on training images; it is told in the log.

    Returns:
        The graphs with this decoder, whose ``parity`` is then the largest difference of a pixel, bounded by
        nothing but the gate on the −ELBO; and the golden rows as it decodes them, which is what a server
        must reproduce.

    Raises:
        TrainingError: it cannot be converted or measured.
    """
    draws = torch.Generator().manual_seed(0)
    shown = sample_rows(images, IMAGES + CALIBRATED)
    shape, found = posterior(networks.encoder, shown, rows=PARITY_ROWS)
    mean, log_var = (torch.from_numpy(part).unflatten(1, shape) for part in (found.mean, found.log_var))
    latents = mean + (0.5 * log_var).exp() * torch.randn(mean.shape, generator=draws)
    # Those that are measured took no part in the calibration; there are two images at least.
    order = torch.randperm(len(shown), generator=draws)
    calibrating = order[: min(CALIBRATED, len(order) // 2)]
    measured = order[len(calibrating) :][:IMAGES]
    noise = torch.randn((len(calibrating), *mean.shape[1:]), generator=draws)
    prior = noise if networks.prior is None else networks.prior(noise)
    before = exported.contents[FILE]
    content = quantised(before, precision, torch.cat([latents[calibrating], prior]).numpy())
    price = cost(before, content, precision, shown[measured], latents[measured], likelihood, networks.score)
    log.info("%s", price.describe())
    differences = parity(content, networks.decoder, {"latent": latents[measured][:PARITY_ROWS]})
    admission.note(price.gate, figures=(price.loss, *differences.values()))
    graph = exported.graphs["decoder"].model_copy(update={"precision": precision, "parity": differences})
    (decoded,) = cpu_session(content).run(None, {"latent": golden_rows["latent"].numpy()})
    changed = Exported({**exported.graphs, "decoder": graph}, {**exported.contents, FILE: content})
    return changed, {**golden_rows, "decoded": torch.from_numpy(decoded)}


def cost(
    before: bytes,
    after: bytes,
    precision: Precision,
    images: Tensor,
    latents: Tensor,
    likelihood: Likelihood,
    score: nn.Module | None,
) -> Cost:
    """Measure both decoders.

    Args:
        images: [n, C, H, W] in [0, 1].
        latents: [n, *latent_shape], a draw of the posterior of each image.
        score: which knows the scales of a discretised likelihood.

    Raises:
        TrainingError: a Gaussian likelihood without its σ, a discretised one without its score.
    """
    if likelihood.binarisation == "dynamic":
        images = binarise(images, torch.Generator().manual_seed(0))
    sessions = [cpu_session(content, threads=1) for content in (before, after)]
    name = sessions[0].get_inputs()[0].name
    fed = latents.numpy()
    lost = np.concatenate(
        [
            _lost(x, z, [session.run(None, {name: z})[0] for session in sessions], likelihood, score)
            for x, z in zip(batches(images.numpy()), batches(fed), strict=True)
        ]
    )
    batch = {name: fed[np.arange(TIMED_ROWS) % len(fed)]}
    taken: list[list[float]] = [[], []]
    for _ in range(TIMED_RUNS):  # in turns, so that a noisy moment hits both
        for session, seconds in zip(sessions, taken, strict=True):
            began = time.perf_counter()
            session.run(None, batch)
            seconds.append(time.perf_counter() - began)
    slow, fast = (1e6 * float(np.median(seconds)) / TIMED_ROWS for seconds in taken)
    return Cost(
        precision,
        loss=float(lost.mean()),
        standard_error=float(lost.std() / np.sqrt(len(lost))),
        mib=(len(before) / 2**20, len(after) / 2**20),
        microseconds=(slow, fast),
    )


def _lost(
    images: Floats, latents: Floats, means: list[Floats], likelihood: Likelihood, score: nn.Module | None
) -> NDArray[np.float64]:
    """What -log p(x|z) of each image rises by from the first of two means of p(x|z) to the second."""
    before, after = means
    if likelihood.name != "discretised_logistic":
        return _distortion(images, after, likelihood) - _distortion(images, before, likelihood)
    if not isinstance(score, Score) or not isinstance(score.likelihood, DiscretisedLogistic):
        raise TrainingError("--precision: want the score of the discretised likelihood, to tell what is lost")
    # A decoder's graph gives means alone: the locations move as they do, the scales are the model's.
    x, logits = torch.from_numpy(images), score.decoder(torch.from_numpy(latents))
    moved = score.likelihood.moved(logits, torch.from_numpy(after - before))
    lost = score.likelihood.log_prob(x, logits) - score.likelihood.log_prob(x, moved)
    return np.asarray(lost.double().numpy())


def _distortion(images: Floats, mean: Floats, likelihood: Likelihood) -> NDArray[np.float64]:
    """-log p(x|z) of each image, up to what does not depend on the decoder, from the mean of p(x|z)."""
    x, p = images.astype(np.float64), mean.astype(np.float64)
    if likelihood.name == "bernoulli":
        p = p.clip(SMALLEST_CHANCE, 1 - SMALLEST_CHANCE)
        terms = -(x * np.log(p) + (1 - x) * np.log1p(-p))
    elif likelihood.name == "columns":
        raise TrainingError("--precision: want float32 for a table, whose decoder gives no mean to compare")
    elif likelihood.sigma is None:
        raise TrainingError("--precision: want the σ of the Gaussian likelihood, to tell what is lost")
    else:
        terms = 0.5 * np.square((x - p) / likelihood.sigma)
    return np.asarray(terms.reshape(len(x), -1).sum(axis=1))
