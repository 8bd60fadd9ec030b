"""From a run to the map that its bundle carries, and to images of any place of it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from serving import bundle
from serving.bundle import PROJECTION, read_projection
from serving.client import Client
from tests.support.brief_fits import PLAIN
from tests.support.process import serving
from training.__main__ import main
from training.data import Split
from training.evaluate.latents.planes import mapped
from training.evaluate.measured_run import measured_run
from training.export import export_bundle, export_run
from training.modalities.image.networks.codec import ImageEncoder
from training.pools import posterior
from training.runs import Run, load_run

TRAINED = [
    *PLAIN,
    "--network",
    "mlp",
    "--width",
    "64",
    "--latent",
    "6",
    "--batch-size",
    "32",
    "--steps",
    "1500",
    "--warmup",
    "0",
]
HELD_OUT = ["--val-fraction", "0.3", "--threads", "1", "--no-tensorboard"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A VAE of the digits, trained for seconds, with many images held out."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["fit", "--run", str(folder), *TRAINED, *HELD_OUT]) == 0
    return folder


@pytest.fixture(scope="module")
def repository(run, tmp_path_factory) -> Path:
    """Exported as it is, and without a map."""
    root = tmp_path_factory.mktemp("models")
    export_run(measured_run(Run(run), load_run(run)), repository=root, name="d")
    where = ["--run", str(run), "--repository", str(root), "--name", "d"]
    assert main(["export", *where, "--no-projection"]) == 0
    return root


def sealed(repository, version):
    found = bundle.read(repository / "d" / str(version))
    return found, read_projection(found, latents=6)


def test_points_are_the_validation_images(run, repository):
    """All 539 with their labels, pools and scores; the map is one that can be made again."""
    _, points = sealed(repository, 1)
    val = load_run(run).dataset().val
    means = posterior(ImageEncoder(load_run(run).model), val.images)[1].mean
    order = np.lexsort(points.latents.T)
    np.testing.assert_allclose(points.latents[order], means[np.lexsort(means.T)], atol=1e-5)
    image = np.square(points.latents[:, None] - means).sum(axis=2).argmin(axis=1)
    assert points.labels == tuple("0123456789")
    np.testing.assert_array_equal(points.label_of, val.labels.numpy()[image])
    assert (points.pool_of == points.label_of).mean() > 0.8
    assert np.quantile(points.quantile, [0, 0.5, 1]) == pytest.approx([0, 0.5, 1], abs=0.02)
    np.testing.assert_array_equal(points.points, mapped(points.latents))


def test_it_can_be_left_out(repository):
    """`--no-projection`: no such file, the rest is the same."""
    without, nothing = sealed(repository, 2)
    assert nothing is None
    files = {file for file in sealed(repository, 1)[0].manifest.files if not file.startswith("report/")}
    assert files - set(without.manifest.files) == {PROJECTION}


def test_any_place_is_an_image_of_what_lies_there(run, repository):
    """Served: halfway between a point and one of its neighbours an image is decoded whose own latent has its nearest
    points there, for most such places."""
    with serving(repository, "--versions", "all") as server, Client(server.grpc_address) as client:
        offers = {known.version: known.offers_latent_map for known in client.models()}
        found = client.latent_map("d", version=1)
        each = np.arange(len(found.points))
        squares = np.square(found.points[:, None] - found.points).sum(axis=2)
        neighbour = squares.argsort(axis=1)[each, 1 + each % 8]
        places = (found.points + found.points[neighbour]) / 2
        images = client.decode("d", found.latents_at(places), version=1).images
        again = client.encode("d", images, version=1).mean
    assert offers == {1: True, 2: False}
    alike = np.square(again[:, None] - found.latents).sum(axis=2).argmin(axis=1)
    near = np.square(places[:, None] - found.points).sum(axis=2).argsort(axis=1)[:, :16]
    assert (near == alike[:, None]).any(axis=1).mean() > 0.9


def test_modules_of_other_libraries_have_a_map(tmp_path):
    """`export_bundle` of held-out images as a tensor, without labels, or as a split with them."""

    class Encoder(torch.nn.Module):
        def forward(self, image):
            flat = image.flatten(1)
            return flat, torch.full_like(flat, -3.0)

    decoder = torch.nn.Sequential(torch.nn.Hardtanh(0, 1), torch.nn.Unflatten(1, (1, 4, 4)))
    images, labels = torch.rand(60, 1, 4, 4), torch.arange(60).remainder(2)
    given = {
        "repository": tmp_path,
        "name": "toy",
        "images": images[:30],
        "labels": labels[:30],
        "label_names": "ab",
    }
    for held_out in (images[30:], Split(images[30:], labels[30:]), None):
        export_bundle(Encoder(), decoder, held_out=held_out, **given)
    plain, labelled, nothing = (
        read_projection(bundle.read(tmp_path / "toy" / version), latents=16) for version in "123"
    )
    assert (plain.labels, labelled.labels, nothing) == ((), ("a", "b"), None)
    assert len(plain.points) == 30
