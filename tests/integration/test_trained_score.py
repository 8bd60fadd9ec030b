"""A VAE with a flow prior, trained on real digits, exported and served: what comes is what the trainer has."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from serving.bundle import Bundle
from serving.client import Client
from serving.latent.noise import standard_normal
from tests.support.process import serving
from training.__main__ import main
from training.data import to_unit
from training.evaluate import estimate
from training.evaluate.measured_run import measured_run
from training.export import export_run
from training.export.parity import cpu_session
from training.fit.losses import elbo
from training.runs import Run, load_run

TINY = ["--network", "mlp", "--width", "24", "--latent", "4", "--batch-size", "32", "--no-tensorboard"]
FLOW = ["--prior", "flow", "--couplings", "2", "--coupling-width", "16"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert (
        main(["fit", "--run", str(folder), *TINY, *FLOW, "--steps", "200", "--likelihood", "bernoulli"]) == 0
    )
    return folder


@pytest.fixture(scope="module")
def sealed(run, tmp_path_factory) -> Bundle:
    measured = measured_run(Run(run), load_run(run))
    bundle = export_run(measured, repository=tmp_path_factory.mktemp("models"), name="digits")
    return bundle


@pytest.fixture(scope="module")
def client(sealed):
    repository = sealed.root.parents[1]
    with serving(repository, "--max-rows", "100") as server, Client(server.grpc_address) as connected:
        yield connected


def test_bundle_has_prior_and_score(sealed):
    """Their graphs, proved at every batch size; golden rows that the files give again; the prior's name."""
    manifest = sealed.manifest
    assert (manifest.prior, set(manifest.graphs)) == ("flow", {"encoder", "decoder", "prior", "score"})
    for role in ("prior", "score"):
        assert set(manifest.graphs[role].parity) == {"1", "2", "3", "7", "64"}
    golden = load(sealed.content("golden.safetensors"))
    (latent,) = cpu_session(sealed.content("prior.onnx")).run(None, {"noise": golden["prior_noise"]})
    np.testing.assert_allclose(latent, golden["prior_latent"], atol=1e-5)
    given = {"image": golden["image"], "noise": golden["score_noise"]}
    names = ["distortion", "rate", "log_weight"]
    for name, came in zip(names, cpu_session(sealed.content("score.onnx")).run(names, given), strict=True):
        np.testing.assert_allclose(came, golden[name], atol=1e-3)


def test_served_nelbo_is_the_trainers(run, client):
    """For the same noise, on binary test digits: −ELBO and its parts to 0.01 nats, in one call or several."""
    loaded = load_run(run)
    model, images = loaded.model, to_unit(loaded.dataset().binarised("test").images)
    noise = torch.from_numpy(standard_normal(5, 0, len(images), 4)).float()
    scores = client.score("digits", images.numpy(), samples=1, seed=5)
    with torch.inference_mode():
        bounds = [elbo(model, images[i : i + 1], noise[i : i + 1], beta=1) for i in range(len(images))]
    for name in ("distortion", "rate"):
        wanted = [float(getattr(bound, name)) for bound in bounds]
        np.testing.assert_allclose(getattr(scores, name), wanted, atol=0.01)
    np.testing.assert_allclose(scores.nelbo, [float(bound.loss) for bound in bounds], atol=0.01)
    np.testing.assert_allclose(scores.nll, scores.nelbo, atol=0.01)  # one sample is its own bound


def test_served_likelihood_is_that_of_the_evaluation(run, client):
    """With other noise, the means over the test digits agree with ``vae-train evaluate`` to a few errors."""
    loaded = load_run(run)
    images = to_unit(loaded.dataset().binarised("test").images)
    scores = client.score("digits", images.numpy(), samples=200)
    estimates = estimate(loaded.model, images, k=200, seed=0)
    assert abs(scores.nelbo.mean() - float((estimates.distortion + estimates.rate).mean())) < 0.2
    assert abs(scores.nll.mean() + float(estimates.log_likelihood.mean())) < 0.2
    assert (scores.nll <= scores.nelbo + 1e-3).all()


def test_quantiles_tell_digits_from_trash(run, client):
    """Validation digits spread evenly over 0 to 1; noise and inverted digits lie at the end."""
    images = to_unit(load_run(run).dataset().val.images).numpy()
    quantile = client.score("digits", images, seed=1).quantile
    assert abs(quantile.mean() - 0.5) < 0.06
    assert abs(quantile.std() - 12**-0.5) < 0.04
    noise = np.random.default_rng(0).random(images.shape, np.float32)
    assert np.median(client.score("digits", noise, seed=1).quantile) == 1
    assert np.median(client.score("digits", 1 - images, seed=1).quantile) == 1


def test_rows_of_a_seed_are_what_they_are_said_to_be(client):
    """Alone or among others: latents of a pool and around a latent bit for bit; those of a learned prior and
    around an image, and all images, to 1e-5, relatively where they exceed 1."""
    image = client.sample("digits", 1, seed=1).images
    latent = np.float32([[0.3, -1.7, 2.1, 0.0]])
    exact = [{"pool": "3"}, {"near_latent": latent, "spread": 0.3}]
    graphs = [{}, {"temperature": 0.7}, {"near": image, "spread": 0.3}]
    for source in exact + graphs:
        whole = client.sample("digits", 70, seed=9, latents=True, **source)
        parts = [
            client.sample("digits", count, seed=9, first_row=first, latents=True, **source)
            for first, count in ((0, 1), (1, 2), (3, 17), (20, 50))
        ]
        latents = np.concatenate([part.latents for part in parts])
        if source in exact:
            np.testing.assert_array_equal(latents, whole.latents)
        np.testing.assert_allclose(latents, whole.latents, rtol=1e-5, atol=1e-5)
        images = np.concatenate([part.images for part in parts])
        np.testing.assert_allclose(images, whole.images, atol=1e-5)


def test_samples_are_those_of_the_learned_prior(run, client):
    """Sample gives decoder(prior(noise·temperature)) of PyTorch."""
    model = load_run(run).model
    noise = torch.from_numpy(standard_normal(3, 0, 250, 4)).float()
    with torch.inference_mode():
        latents = model.prior(0.8 * noise)
        images = model.likelihood.mean(model.decoder(latents))
    samples = client.sample("digits", 250, seed=3, temperature=0.8, latents=True)
    np.testing.assert_allclose(samples.latents, latents, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(samples.images, images, atol=1e-4)
    assert (latents - 0.8 * noise).abs().max() > 0.1
    assert (client.model("digits").prior, client.model("digits").offers_score) == ("flow", True)
