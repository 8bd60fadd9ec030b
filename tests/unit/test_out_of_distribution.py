"""How well a score tells foreign images: the figures, and the images."""

import numpy as np
import pytest
import torch
from PIL import Image

from training.config import FitConfig
from training.evaluate.evaluated_model import EvaluatedModel
from training.evaluate.out_of_distribution import detection, foreign_group, foreign_images
from training.modalities import build_model, load, resolve


def test_detection_counts_pairs():
    """AUROC is the share of pairs in which the foreign image has the higher score, ties half."""
    draw = np.random.default_rng(0)
    real, foreign = draw.normal(size=200).round(1), draw.normal(0.7, 1, size=150).round(1)
    pairs = (foreign[:, None] > real).mean() + 0.5 * (foreign[:, None] == real).mean()
    assert detection(real, foreign)["auroc"] == pytest.approx(pairs)


def test_detection_at_its_ends():
    """Apart: perfect. Foreign images that score lower: worst, however far apart. The same: chance."""
    low, high = np.arange(100.0), np.arange(100.0) + 1000
    assert detection(low, high) == {"auroc": 1, "aupr": 1, "fpr95": 0}
    worst = detection(high, low)
    assert (worst["auroc"], worst["fpr95"]) == (0, 1)
    chance = detection(low, low)
    assert (chance["auroc"], chance["fpr95"]) == pytest.approx((0.5, 0.95))


def test_share_that_passes_when_most_real_images_do():
    """95 % of scores 0 … 99 lie up to 94: of 50 foreign images below and 50 above, half pass."""
    foreign = np.concatenate([np.full(50, 10.5), np.full(50, 97.5)])
    assert detection(np.arange(100.0), foreign)["fpr95"] == 0.5


def test_foreign_images_are_made_of_the_held_out_ones():
    """Noise of the same shape, the negative, a quarter turn; images that are not square are not turned."""
    images = torch.rand(5, 3, 6, 6)
    made = foreign_images(images, torch.Generator().manual_seed(0))
    assert made["noise"].shape == images.shape
    torch.testing.assert_close(made["inverted"], 1 - images)
    torch.testing.assert_close(made["rotated 90°"].rot90(3, dims=(2, 3)), images)
    assert set(foreign_images(torch.rand(5, 1, 6, 8), torch.Generator())) == {"noise", "inverted"}


def test_an_own_folder_called_noise_does_not_lose_in_silence(tmp_path):
    """What the user names is measured beside the images of ours that have the same name."""
    dataset = load(FitConfig())
    config = resolve(FitConfig(network="mlp", latent=2, width=8), dataset)
    model = build_model(config, dataset.image_shape).eval()
    (tmp_path / "noise").mkdir()
    for colour in ("black", "grey", "white"):
        Image.new("L", (8, 8), colour).save(tmp_path / "noise" / f"{colour}.png")
    evaluated = EvaluatedModel(model, dataset, "test", binary=False, step=1, seed=0, limit=50)
    group = foreign_group(evaluated, tmp_path / "noise")
    assert group.protocol["images of noise (--ood)"] == 3
    assert group.protocol["images of noise"] > 3


def test_withheld_labels_are_measured():
    """The images that the model was kept from are one more foreign set, all of them."""
    dataset = load(FitConfig(without="4"))
    config = resolve(FitConfig(network="mlp", latent=2, width=8), dataset)
    model = build_model(config, dataset.image_shape).eval()
    group = foreign_group(EvaluatedModel(model, dataset, "test", binary=False, step=1, seed=0), None)
    assert group.protocol["images of withheld labels"] == len(dataset.withheld)
    for table in group.tables.values():
        assert list(table) == ["noise", "inverted", "rotated 90°", "withheld labels"]
