"""The decoder of a bundle in less precision, with what the manifest and the golden rows say of it."""

import logging
import math

import torch
from torch import Tensor

from serving.bundle import Likelihood, Precision
from training.export.gates import enforce
from training.export.networks import PARITY_ROWS, Exported, Networks, Rows, export_graphs, sample_rows
from training.export.parity import cpu_session, parity
from training.export.precision import CALIBRATED, IMAGES, cost, reduced
from training.pools import posterior

FILE = "decoder.onnx"

log = logging.getLogger(__name__)


def graphs_of(
    networks: Networks, images: Tensor, golden_rows: Rows, likelihood: Likelihood, precision: Precision
) -> tuple[Exported, Rows]:
    """The graphs of a bundle with their gates, and the golden rows as they answer them.

    Raises:
        TrainingError: a network that cannot be exported, converted or measured.
    """
    exported = export_graphs(networks, images)
    if precision == "float32":
        return exported, golden_rows
    return lowered(networks, images, exported, golden_rows, likelihood, precision)


@torch.inference_mode()
def lowered(
    networks: Networks,
    images: Tensor,
    exported: Exported,
    golden_rows: Rows,
    likelihood: Likelihood,
    precision: Precision,
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
    content = reduced(before, precision, torch.cat([latents[calibrating], prior]).numpy())
    price = cost(before, content, precision, shown[measured], latents[measured], likelihood)
    log.info("%s", price.describe())
    differences = parity(content, networks.decoder, {"latent": latents[measured][:PARITY_ROWS]})
    if not all(map(math.isfinite, (price.loss, *differences.values()))):
        enforce([price.gate])  # what is not finite has no place in a manifest, forced or not
    graph = exported.graphs["decoder"].model_copy(update={"precision": precision, "parity": differences})
    (decoded,) = cpu_session(content).run(None, {"latent": golden_rows["latent"].numpy()})
    changed = Exported(
        {**exported.graphs, "decoder": graph},
        {**exported.contents, FILE: content},
        (*exported.gates, price.gate),
    )
    return changed, {**golden_rows, "decoded": torch.from_numpy(decoded)}
