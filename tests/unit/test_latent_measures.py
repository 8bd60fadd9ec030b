"""Probes, clusters and the aggregate posterior, where the answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.data import Dataset, Split
from training.evaluate.evaluated_model import EvaluatedModel, Use
from training.evaluate.latents import probes
from training.evaluate.latents.aggregate_posterior import aggregate_rows, mixture_log_density
from training.evaluate.latents.probes import cluster_agreement, few_labels, fit_logistic, latents_group
from training.modalities.image.networks.likelihoods import Bernoulli
from training.models import VAE
from training.models.gaussians import gaussian_log_density
from training.models.priors import StandardNormal

SIDE = 4
PIXELS = SIDE * SIDE


class Channel(nn.Module):
    """q(z_j|x) = N(gain x_j, variance) for the first pixels; with x ~ N(0, I), q(z) is a known Gaussian."""

    def __init__(self, gain: Tensor, variance: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(gain)
        self.log_var = math.log(variance)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        mean = image.flatten(1)[:, : len(self.gain)] * self.gain
        return mean, torch.full_like(mean, self.log_var)


def evaluated(gain: list[float], variance: float, *, labels: bool = False) -> EvaluatedModel:
    """Images of Gaussian pixels; with labels, the sign of the first pixel."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        images = torch.randn(count, 1, SIDE, SIDE, generator=generator)
        return Split(images, (images[:, 0, 0, 0] > 0).long() if labels else None)

    dataset = Dataset("toy", split(6000), split(300), split(2000), ("minus", "plus") if labels else (), "0")
    decoder = nn.Sequential(nn.Linear(len(gain), PIXELS), nn.Unflatten(1, (1, SIDE, SIDE)))
    parts = (Channel(torch.tensor(gain), variance), decoder, Bernoulli(), StandardNormal((len(gain),)))
    model = VAE(*parts, kind="vae", image_shape=(1, SIDE, SIDE), latent_shape=(len(gain),)).eval()
    return EvaluatedModel(model.requires_grad_(False), dataset, "test", binary=False, step=1, seed=0)


@pytest.mark.parametrize(("gain", "variance"), [([0.8, 0.6], 0.3), ([0.5, 0.5], 0.75)])
def test_bounds_hold_what_is_known(gain, variance):
    """q(z) = N(0, gain² + variance): MI and KL in closed form lie between the bounds, which are 0.1 nats wide."""
    spread = np.array(gain) ** 2 + variance
    exact = {
        "mi": 0.5 * np.log(spread / variance).sum(),
        "kl": 0.5 * (spread - 1 - np.log(spread)).sum(),
    }
    rows = aggregate_rows(evaluated(gain, variance))
    for name, value in exact.items():
        low, high = rows["at least"][name], rows["at most"][name]
        assert low - 4 * rows["at least"][f"{name}_se"] < value < high + 4 * rows["at most"][f"{name}_se"]
        assert high - low < 0.1


def test_information_beyond_the_number_of_images_is_not_claimed():
    """Posteriors that never meet: at least log N nats is all that N images can show."""
    rows = aggregate_rows(evaluated([1.0] * 6, 1e-6))
    assert rows["at least"]["mi"] == pytest.approx(math.log(2000), abs=0.01)
    assert rows["at most"]["mi"] > 6 * 0.5 * math.log(1e6) - 1


def test_mixture_density_is_the_mean_of_the_posteriors():
    """What gaussian_log_density says of every pair, averaged."""
    mean, log_var, latent = torch.randn(3, 7, 2, dtype=torch.float64)
    pairs = gaussian_log_density(latent[:, None], mean, log_var)
    torch.testing.assert_close(
        mixture_log_density(latent, mean, log_var), pairs.logsumexp(dim=1) - math.log(7)
    )


def test_clusters_are_matched_with_labels():
    """Renamed clusters agree fully; two labels in one cluster cost the smaller; chance has no ARI."""
    labels = np.repeat([0, 1, 2], [30, 20, 10])
    renamed = cluster_agreement(labels, (labels + 1) % 3)
    assert (renamed["acc"], renamed["nmi"], renamed["ari"]) == pytest.approx((1, 1, 1))
    assert cluster_agreement(labels, np.minimum(labels, 1))["acc"] == pytest.approx(50 / 60)
    draw = np.random.default_rng(0)
    assert abs(cluster_agreement(draw.integers(3, size=2000), draw.integers(3, size=2000))["ari"]) < 0.01


def test_few_labels_are_as_many_of_each_class():
    """Ten of each, another ten each time, the same for the same seed."""
    labels = np.random.default_rng(0).integers(4, size=500)
    one, two = few_labels(labels, 10, draws=2, seed=3)
    assert np.bincount(labels[one]).tolist() == [10] * 4
    assert set(one) != set(two)
    assert np.array_equal(next(few_labels(labels, 10, draws=1, seed=3)), one)


def test_probe_takes_the_penalty_that_validates_best(monkeypatch):
    """Of ten images with forty latents: no penalty alone does better on the validation images."""
    draw = np.random.default_rng(0)

    def images(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 2
        return (draw.normal(size=(count, 40)) + 0.5 * labels[:, None]).astype(np.float32), labels

    train, validation = images(10), images(1000)
    chosen = fit_logistic(train, validation).score(*validation)
    alone = []
    for inverse in probes.INVERSE_L2:
        monkeypatch.setattr(probes, "INVERSE_L2", (inverse,))
        alone.append(fit_logistic(train, validation).score(*validation))
    assert chosen == max(alone) > min(alone)


def test_probes_and_clusters_see_the_class():
    """The label is the sign of a latent: all labels teach it to a line; more labels never hurt by much."""
    group = latents_group(evaluated([1.0, 0.2], 0.01, labels=True))
    rows = group.tables["labels per class"]
    assert list(rows) == ["10", "100", "all"]
    assert rows["all"]["logistic"] > 0.99
    assert rows["10"]["knn"] < rows["100"]["knn"] < rows["all"]["knn"]
    assert "logistic_sd" in rows["10"]
    assert "logistic_se" in rows["all"]
    assert group.tables["clusters"]["mixture"]["acc"] > 0.5


def test_no_two_uses_share_random_numbers():
    """Noise drawn as black or white pixels stays noise: half of them on, not none."""
    toy = evaluated([1.0], 1.0)
    binary = EvaluatedModel(toy.model, toy.dataset, "test", binary=True, step=1, seed=0)
    noise = torch.rand(50, 1, 28, 28, generator=binary.generator(Use.NOISE))
    assert float(binary.as_seen(noise).mean()) == pytest.approx(0.5, abs=0.01)
    assert len({binary.seed_for(use) for use in Use}) == len(Use)
