"""A diffusers AutoencoderKL, exported by Hugging Face Optimum, served: it answers what diffusers answers.

``tests/golden/make_autoencoder_kl.py`` made the files and the expected tensors.
"""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from serving.client import Client
from serving.latent.noise import standard_normal
from tests.support.process import serving
from training.__main__ import main

GOLDEN = Path(__file__).parents[1] / "golden/autoencoder_kl"
EXPECTED = load_file(GOLDEN / "expected.safetensors")
LATENT_SHAPE = (2, 8, 12)
SCALE = 0.3611


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Colour images of one kind and of another, as many as make a map."""
    path = tmp_path_factory.mktemp("photos") / "images.npz"
    pixels = np.round((EXPECTED["image"] + 1) * 127.5).astype(np.uint8)
    labels = np.array(["cat", "dog", "cat", "dog"] * 6)
    np.savez(path, images=np.tile(pixels, (6, 1, 1, 1)), labels=labels)
    return path


@pytest.fixture(scope="module")
def repository(tmp_path_factory, photos) -> Path:
    root = tmp_path_factory.mktemp("models")
    arguments = ["--diffusers", str(GOLDEN), "--image-size", "16x24", "--data", str(photos)]
    assert main(["import-onnx", "--repository", str(root), "--name", "kl", *arguments]) == 0
    return root


@pytest.fixture(scope="module")
def client(repository):
    with serving(repository) as server, Client(server.grpc_address) as connected:
        yield connected


def test_encode_and_decode_are_those_of_diffusers(client):
    """Mean as pipelines scale it, log-variance as diffusers clamps it, images in [-1, 1]."""
    posterior = client.encode("kl", EXPECTED["image"])
    assert posterior.mean.shape == (4, *LATENT_SHAPE)
    np.testing.assert_allclose(posterior.mean, EXPECTED["scaled_mean"], atol=1e-5)
    scaled = EXPECTED["log_var"] + 2 * np.log(SCALE)
    np.testing.assert_allclose(posterior.log_var, scaled, atol=1e-4)
    assert EXPECTED["log_var"].min() == -30  # so the clamp was put to the test
    decoded = client.decode("kl", EXPECTED["scaled_latent"])
    np.testing.assert_allclose(decoded.images, EXPECTED["decoded"], atol=1e-4)
    assert np.abs(EXPECTED["decoded"]).max() == 1


def test_samples_can_be_encoded_again(client):
    """Samples lie in the value range that Encode checks, and are the decoder's of the seeded noise."""
    samples = client.sample("kl", 3, seed=7, latents=True)
    noise = standard_normal(7, 0, 3, int(np.prod(LATENT_SHAPE))).reshape(3, *LATENT_SHAPE)
    np.testing.assert_allclose(samples.latents, noise, atol=1e-6)
    np.testing.assert_allclose(samples.images, client.decode("kl", samples.latents).images, atol=1e-5)
    again = client.reconstruct("kl", samples.images)
    by_hand = client.decode("kl", client.encode("kl", samples.images).mean)
    np.testing.assert_allclose(again.images, by_hand.images, atol=1e-5)


def test_pools_lie_among_the_scaled_means(client):
    """At temperature 0, a pool's sample is the mean of its images' latents, as callers see them."""
    drawn = client.sample("kl", 1, pool="cat", temperature=0.0, latents=True)
    np.testing.assert_allclose(drawn.latents[0], EXPECTED["scaled_mean"][::2].mean(axis=0), atol=0.02)


def test_the_map_is_of_scaled_means(client):
    """Where the images of the import lie, with their labels and pools, as Decode takes latents."""
    found = client.latent_map("kl")
    means = EXPECTED["scaled_mean"].reshape(4, -1)
    image = np.square(found.latents[:, None] - means).sum(axis=2).argmin(axis=1)
    np.testing.assert_allclose(found.latents, means[image], atol=0.05)
    assert found.points.shape == (24, 2)
    names = [found.labels[label] for label in found.label_of]
    assert names == [("cat", "dog")[index % 2] for index in image]
    pools = client.model("kl").pools
    assert [pools[index].name for index in found.pool_of] == names
