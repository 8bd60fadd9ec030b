"""The map that a bundle gets at export."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from serving.bundle import Projection
from serving.latent.pool_set import PoolSet
from training.data import Split
from training.evaluate.latents import held_out_map as maps
from training.evaluate.latents.held_out_map import held_out_map, most_probable_pool, stratified
from training.pools import fit_latents
from training.training_error import TrainingError

KINDS = 3
NAMES = ("a", "b", "c")


class Encoder(nn.Module):
    """The pixels are the means."""

    def forward(self, image):
        flat = image.flatten(1)
        return flat, torch.full_like(flat, -3.0)


def data(count, seed=0, latents=4):
    """Images of three kinds, each around a corner of its own."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % KINDS
    pixels = 0.1 * rng.random((count, 1, 1, latents)) + 0.8 * np.eye(latents)[labels][:, None, None]
    return Split(torch.from_numpy(pixels.astype(np.float32)), torch.from_numpy(labels))


TRAIN = data(300)
LATENTS = fit_latents(Encoder(), TRAIN.images, TRAIN.labels, NAMES)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=300),
    st.integers(1, 60),
    st.booleans(),
)
def test_each_label_has_its_share(labels, most, labelled):
    """No row twice, as many as there is room for; of each label its share but for one, and one where there is room."""
    labels = np.array(labels)
    chosen = stratified(labels if labelled else None, len(labels), most)
    assert len(set(chosen.tolist())) == len(chosen) == min(most, len(labels))
    assert np.isin(chosen, np.arange(len(labels))).all()
    np.testing.assert_array_equal(stratified(labels if labelled else None, len(labels), most), chosen)
    if labelled:
        sizes, taken = np.bincount(labels), np.bincount(labels[chosen], minlength=labels.max() + 1)
        kinds = (sizes > 0).sum()
        assert (np.abs(taken - sizes * len(chosen) / len(labels)) <= kinds).all()
        if most >= kinds:
            assert ((taken > 0) == (sizes > 0)).all()


def test_the_order_says_nothing():
    """Neither the label nor the place in the data set: whoever draws them covers no kind with another."""
    labels = np.repeat([0, 1], 500)
    chosen = stratified(labels, 1000, 400)
    halves = labels[chosen].reshape(2, 200).mean(axis=1)
    assert (np.abs(halves - 0.5) < 0.2).all()
    assert abs(np.corrcoef(chosen, np.arange(400))[0, 1]) < 0.2


def test_a_point_is_an_image_with_its_label_pool_and_score():
    """All of a row are of one image; the pool is the one that the server finds most probable."""
    held_out = data(100, seed=1)
    rows = np.arange(10, 90)
    found = held_out_map(
        Encoder(), held_out, NAMES, LATENTS, scored=(rows, np.linspace(0, 1, 80, dtype=np.float32))
    )
    assert Projection.from_bytes(found.to_bytes(), latents=4, pools=len(LATENTS.entries)).labels == NAMES
    flat = held_out.images.flatten(1).numpy()
    image = np.square(found.latents[:, None] - flat).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found.latents, flat[image])
    assert sorted(image) == list(rows)
    np.testing.assert_array_equal(found.label_of, held_out.labels.numpy()[image])
    np.testing.assert_allclose(found.quantile, (image - 10) / 79, atol=1e-6)
    pools = PoolSet(LATENTS.entries, LATENTS.pools)
    likely = pools.probabilities(found.latents.astype(np.float64)).argmax(axis=1)
    assert [LATENTS.entries[index].name for index in found.pool_of] == [
        pools.kinds[index] for index in likely
    ]
    assert (found.pool_of == found.label_of).mean() > 0.95


def test_data_without_labels_have_a_map():
    """Without labels and pools, if nothing tells kinds apart; without quantiles where there is no score."""
    plain = fit_latents(Encoder(), TRAIN.images[:50], None, ())
    aggregate = replace(plain, entries=plain.entries[-1:])
    found = held_out_map(Encoder(), replace(data(30), labels=None), (), aggregate)
    assert (found.labels, found.label_of, found.pool_of, found.quantile) == ((), None, None, None)
    assert len(found.points) == 30
    assert most_probable_pool(found.latents, plain.entries, plain.pools) is None or len(plain.entries) > 1


@pytest.mark.parametrize(
    ("held_out", "words"),
    [
        (data(19), "want at least 20 images that are held out, came 19"),
        (data(0), "want at least 20 images that are held out, came 0"),
        (Split(torch.full((30, 1, 1, 4), float("nan")), None), "want finite posterior means"),
    ],
    ids=["few", "none", "NaN"],
)
def test_where_there_is_no_map_a_line_says_why(held_out, words, caplog):
    """Export goes on without the file."""
    with caplog.at_level(logging.WARNING, "training"):
        assert held_out_map(Encoder(), held_out, NAMES, LATENTS) is None
    assert [words in message for message in caplog.messages] == [True]
    assert "projection.safetensors is left out" in caplog.text


def test_large_latents_have_fewer_points(monkeypatch, caplog):
    """Their bytes are bounded, down to as few points as are no map."""
    monkeypatch.setattr(maps, "MOST_LATENT_BYTES", 25 * 4 * 4)
    found = held_out_map(Encoder(), data(100), NAMES, LATENTS)
    assert len(found.points) == 25
    assert set(found.label_of.tolist()) == {0, 1, 2}
    monkeypatch.setattr(maps, "MOST_LATENT_BYTES", 19 * 4 * 4)
    assert held_out_map(Encoder(), data(100), NAMES, LATENTS) is None
    assert "came 4" in caplog.text


def test_more_labels_than_a_map_has_names_for(monkeypatch, caplog):
    """It is made without them, and a line says so."""
    monkeypatch.setattr(maps, "MOST_LABELS", 2)
    found = held_out_map(Encoder(), data(30), NAMES, LATENTS)
    assert (found.labels, found.label_of) == ((), None)
    assert found.pool_of is not None
    assert "map: without labels; want at most 2 names" in caplog.text


@pytest.mark.parametrize(
    "labels", [[0] * 29, [0] * 29 + [3], [0] * 29 + [-1]], ids=["fewer", "beyond", "negative"]
)
def test_labels_that_do_not_fit_are_refused(labels):
    """Before a point is placed."""
    held_out = replace(data(30), labels=torch.tensor(labels))
    with pytest.raises(
        TrainingError, match=r"held_out: want one label an image \(30\), an index into 3 names"
    ):
        held_out_map(Encoder(), held_out, NAMES, LATENTS)
