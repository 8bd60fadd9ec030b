"""The score module and its graph, the prior graph, and what a bundle says of both."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from serving import bundle
from serving.bundle import BundleError, Reference
from tests.support.reference import log_weights
from training.export import Facts, Score, export_bundle
from training.export.gates import Admission, parity_gate
from training.export.graphs import to_onnx
from training.export.held_out_scores import held_out_scores
from training.export.parity import score_parity
from training.fit.losses import elbo
from training.modalities.image.networks.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian
from training.models.flow import RealNVP
from training.models.priors import StandardNormal
from training.models.vae import VAE
from training.training_error import TrainingError

SHAPE = (3, 4, 6)
LATENT_SHAPE = (2, 2, 3)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, stride=2)

    def forward(self, image):
        return self.conv(image).chunk(2, dim=1)


def model(likelihood, prior) -> VAE:
    torch.manual_seed(0)
    decoder = nn.ConvTranspose2d(2, likelihood.planes(3), 2, stride=2)
    parts = (Encoder(), decoder, likelihood, prior)
    return VAE(*parts, kind="vae", image_shape=SHAPE, latent_shape=LATENT_SHAPE).eval()


def flow() -> RealNVP:
    torch.manual_seed(1)
    prior = RealNVP(LATENT_SHAPE, couplings=2, width=8)
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.3)
    return prior


def of(vae: VAE) -> Score:
    return Score(vae.encoder, vae.decoder, vae.likelihood, vae.prior)


KINDS = {
    "bernoulli, N(0, I)": lambda: model(Bernoulli(), StandardNormal(LATENT_SHAPE)),
    "gaussian, flow": lambda: model(Gaussian(), flow()),
    "discretised, flow": lambda: model(DiscretisedLogistic(3), flow()),
}


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_scores_are_the_trainers(kind):
    """distortion + rate is the trainer's −ELBO for the same noise, log_weight its importance weights."""
    vae = KINDS[kind]()
    image, noise = torch.rand(5, *SHAPE), torch.randn(5, 4, *LATENT_SHAPE)
    distortion, rate, log_weight = of(vae)(image, noise)
    torch.testing.assert_close(log_weight, log_weights(vae, image, noise.transpose(0, 1)).T)
    bounds = [elbo(vae, image, noise[:, draw], beta=1) for draw in range(4)]
    torch.testing.assert_close(distortion.mean(), torch.stack([b.distortion for b in bounds]).mean())
    torch.testing.assert_close(rate.mean(), torch.stack([b.rate for b in bounds]).mean())
    assert (rate.shape, log_weight.shape) == ((5,), (5, 4))


@torch.inference_mode()
def test_grey_pixels_are_chances():
    """For a Bernoulli likelihood a grey image's distortion is the mean over its binary images, same posterior."""
    vae = model(Bernoulli(), StandardNormal(LATENT_SHAPE))
    image, logits = torch.rand(1, *SHAPE), torch.randn(1, *SHAPE)
    binary = torch.bernoulli(image.expand(40_000, -1, -1, -1))
    exact, estimates = (vae.likelihood.log_prob(x, logits) for x in (image, binary))
    assert abs(exact - estimates.mean()) < 5 * estimates.std() / 200


def test_quantiles_are_those_of_the_held_out_images():
    """1,001 of them, ascending, the same each time; about half of other draws lie below the middle one."""
    score = of(KINDS["gaussian, flow"]())
    images = torch.randint(
        0, 256, (300, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )
    quantiles = held_out_scores(score, images, LATENT_SHAPE).quantiles
    assert (quantiles.shape, quantiles.dtype) == ((1001,), np.float32)
    assert (np.diff(quantiles) >= 0).all()
    np.testing.assert_array_equal(held_out_scores(score, images, LATENT_SHAPE).quantiles, quantiles)
    with torch.inference_mode():
        distortion, rate, _ = score(images / 255, torch.randn(300, 4, *LATENT_SHAPE))
    assert 0.4 < (distortion + rate < quantiles[500]).float().mean() < 0.6


@pytest.mark.parametrize("count", [None, 0, 1, 19])
def test_of_few_held_out_images_there_are_no_quantiles(count, caplog):
    """Of fewer than 20 none lies above the quantile 0.95; that they are left out is said."""
    score = of(KINDS["gaussian, flow"]())
    assert held_out_scores(score, None if count is None else torch.rand(count, *SHAPE), LATENT_SHAPE) is None
    assert f"want at least 20 validation images, came {count or 0}" in caplog.text
    assert held_out_scores(score, torch.rand(20, *SHAPE), LATENT_SHAPE) is not None


def test_reference_without_quantiles_is_read():
    """A bundle from before there were scores loads; quantiles out of order do not."""
    zeros = np.zeros(2, np.float32)
    without = Reference(zeros, np.eye(2, dtype=np.float32), zeros, zeros)
    assert Reference.from_bytes(without.to_bytes(), latents=2).score_quantiles is None
    rising = replace(without, score_quantiles=np.float32([-1, 0, 0, 7]))
    np.testing.assert_array_equal(
        Reference.from_bytes(rising.to_bytes(), latents=2).score_quantiles, [-1, 0, 0, 7]
    )
    falling = replace(without, score_quantiles=np.float32([1, 0]))
    with pytest.raises(BundleError, match="score_quantiles: want them ascending"):
        Reference.from_bytes(falling.to_bytes(), latents=2)


class OffAtThree(nn.Module):
    """A score that is off by some nats where there are three draws."""

    def __init__(self, score: Score, error: float) -> None:
        super().__init__()
        self.score, self.error = score, error

    def forward(self, image: Tensor, noise: Tensor):
        distortion, rate, log_weight = self.score(image, noise)
        return distortion, rate + (self.error if noise.shape[1] == 3 else 0.0), log_weight


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_a_score_is_the_module(kind):
    """For every likelihood and prior: within the parity gate of PyTorch, for several numbers of draws."""
    score = of(KINDS[kind]())
    rows = {"image": torch.rand(6, *SHAPE), "noise": torch.randn(6, 3, *LATENT_SHAPE)}
    names, axes = ("distortion", "rate", "log_weight"), {"noise": ("batch", "samples")}
    content = to_onnx(score, rows, names, label="score", axes=axes)
    Admission().decide(parity_gate({"score": score_parity(content, score, rows)}))


def test_difference_at_one_number_of_draws_is_found():
    """Relative to the nats, or to a nat a pixel: 0.2 nats of 72 fail the gate."""
    score = of(KINDS["bernoulli, N(0, I)"]())
    rows = {"image": torch.rand(6, *SHAPE), "noise": torch.randn(6, 3, *LATENT_SHAPE)}
    axes = {"noise": ("batch", "samples")}
    names = ("distortion", "rate", "log_weight")
    content = to_onnx(score, rows, names, label="score", axes=axes)
    differences = score_parity(content, OffAtThree(score, 0.2), rows)
    assert differences["7"] == pytest.approx(0.2 / 72, rel=0.01)
    with pytest.raises(
        TrainingError, match=r"gate parity: .*the score within 1e-05 relatively, came score 0\.0"
    ):
        Admission().decide(parity_gate({"score": differences}))


class Flat(nn.Module):
    def forward(self, noise):
        return noise.flatten(1)


def test_networks_that_do_not_fit_are_refused(tmp_path):
    """A prior of other latents, a score of other shapes: named in one line, nothing written."""
    vae = KINDS["bernoulli, N(0, I)"]()
    facts = Facts(
        kind="vae",
        likelihood=bundle.Likelihood(name="bernoulli", sigma=None, binarisation="none"),
        dataset="toy",
        objective="elbo",
    )
    encoder, decoder = vae.encoder, nn.Sequential(vae.decoder, nn.Sigmoid())
    named = {"repository": tmp_path, "name": "toy", "images": torch.rand(20, *SHAPE), "facts": facts}
    with pytest.raises(TrainingError, match="prior: want latents of 2×2×3, came 12"):
        export_bundle(encoder, decoder, prior=Flat(), **named)
    transposed = Score(vae.encoder, vae.decoder, vae.likelihood, vae.prior)
    transposed.forward = lambda image, noise: Score.forward(transposed, image, noise)[::-1]
    with pytest.raises(TrainingError, match="score: want 8, 8, 8×3, came 8×3, 8, 8"):
        export_bundle(encoder, decoder, score=transposed, **named)
    with pytest.raises(TrainingError, match=r"held_out: want images of \[3, 4, 6\].*came \[3, 4, 4\]"):
        export_bundle(encoder, decoder, held_out=torch.rand(20, 3, 4, 4), **named)
    with pytest.raises(TrainingError, match=r"held_out: want values in \[0, 1\]"):
        export_bundle(encoder, decoder, held_out=torch.rand(20, *SHAPE) * 2, **named)
    assert not list(tmp_path.iterdir())
