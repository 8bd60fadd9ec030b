"""Colour images with a probability for each of 256 levels: trained, evaluated, sealed and served."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from serving import bundle
from serving.client import Client
from serving.latent.noise import standard_normal
from tests.support.brief_fits import MLP
from tests.support.process import serving
from training.__main__ import main
from training.data import to_unit
from training.fit.losses import elbo
from training.modalities.image.networks.likelihoods import DiscretisedLogistic
from training.runs import load_run

TINY = [*MLP, "--width", "32", "--latent", "4", "--likelihood", "discretised_logistic"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Of 250 images of one colour each, with a little noise."""
    folder = tmp_path_factory.mktemp("data") / "colours"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for index in range(250):
        pixels = draw.integers(0, 256, 3) + draw.integers(-8, 9, (6, 7, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")
    made = tmp_path_factory.mktemp("runs") / "colours"
    steps = ["--steps", "400", "--learning-rate", "0.003"]
    assert main(["fit", "--run", str(made), "--data", str(folder), *TINY, *steps]) == 0
    return made


@pytest.fixture(scope="module")
def sealed(run, tmp_path_factory) -> bundle.Bundle:
    repository = tmp_path_factory.mktemp("models")
    command = ["export", "--run", str(run), "--repository", str(repository), "--name", "colours"]
    assert main([*command, "--require", "bits_per_dim<=8"]) == 0
    return bundle.read(repository / "colours/1")


@pytest.fixture(scope="module")
def client(sealed):
    with serving(sealed.root.parents[1]) as server, Client(server.grpc_address) as connected:
        yield connected


def test_evaluation_tells_bits_of_levels(run, capsys):
    """Printed with what they compare with, and in metrics.json; less than the 8 bits of knowing nothing."""
    assert main(["evaluate", "--run", str(run), "--k", "20"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["bits_per_dim"]]
    assert line.endswith("−ELBO, of 256 levels: compares with published bits/dim")
    document = json.loads((run / "metrics.json").read_text())
    assert document["likelihood"] == "discretised_logistic"
    assert document["bits_per_dim"] == pytest.approx(document["nelbo"] / (6 * 7 * 3 * np.log(2)))
    assert document["bits_per_dim_nll"] <= document["bits_per_dim"] < 7
    assert "bits_per_dim_density" not in document


def test_the_bundle_says_what_its_likelihood_is(sealed, client):
    """In the manifest, which reads back, in GetModel, in the metrics and on the page of the report."""
    manifest = sealed.manifest
    assert manifest.likelihood == bundle.Likelihood(
        name="discretised_logistic", sigma=None, binarisation="none"
    )
    assert manifest.training.metrics["bits_per_dim"].value < 7
    assert "pixels of 256 levels" in sealed.content("report/index.html").decode()
    assert client.model("colours").likelihood == "discretised_logistic"


def test_served_scores_are_the_trainers(run, client):
    """For the same noise: −ELBO and its parts to 0.01 nats, and images between levels as the nearest ones."""
    loaded = load_run(run)
    images = to_unit(loaded.dataset().test.images)
    noise = torch.from_numpy(standard_normal(5, 0, len(images), 4)).float()
    scores = client.score("colours", images.numpy(), samples=1, seed=5)
    with torch.inference_mode():
        bounds = [elbo(loaded.model, images[i : i + 1], noise[i : i + 1], beta=1) for i in range(len(images))]
    for name, part in (("distortion", "distortion"), ("rate", "rate"), ("nelbo", "loss")):
        wanted = [float(getattr(bound, part)) for bound in bounds]
        np.testing.assert_allclose(getattr(scores, name), wanted, atol=0.01)
    between = (images + 0.3 / 255).clamp(0, 1)
    with torch.inference_mode():
        mean, _ = loaded.model.encoder(between)
        logits = loaded.model.decoder(mean)
        near = loaded.model.likelihood.log_prob(between, logits)
        assert torch.equal(near, loaded.model.likelihood.log_prob(images, logits))


def test_served_images_are_means(run, client):
    """Reconstructions are E[x|z] of the levels, in [0, 1], and near what was encoded."""
    model, images = load_run(run).model, to_unit(load_run(run).dataset().test.images)
    assert isinstance(model.likelihood, DiscretisedLogistic)
    with torch.inference_mode():
        wanted = model.likelihood.mean(model.decoder(model.encoder(images)[0]))
    again = client.reconstruct("colours", images.numpy()).images
    np.testing.assert_allclose(again, wanted, atol=1e-4)
    assert np.square(again - images.numpy()).mean() < 0.25 * images.var().item()


def test_gates_take_bits_per_dimension(run, tmp_path, capsys):
    """A bound that is not reached stops the export."""
    command = ["export", "--run", str(run), "--repository", str(tmp_path / "models"), "--name", "x"]
    assert main([*command, "--require", "bits_per_dim<=0.1"]) == 2
    assert "bits_per_dim" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
