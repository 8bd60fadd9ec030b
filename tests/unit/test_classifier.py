"""The judge of samples, on scikit-learn's digits."""

import pytest
import torch

from training.classifier import Classifier, Judge, neighbour_distance, train_classifier, train_judge
from training.config import FitConfig
from training.data import load, to_unit
from training.errors import TrainingError

STEPS = 240


@pytest.fixture(scope="module")
def digits():
    data = load(FitConfig())
    return [(to_unit(split.images), split.labels) for split in (data.train, data.test)]


@pytest.fixture(scope="module")
def judge(digits) -> Judge:
    return train_judge(*digits, classes=10, steps=STEPS)


def test_real_images_are_known_and_no_trash(judge, digits):
    """Of held-out digits nearly all are recognised, and few are called trash: not many beyond the 1 % limit."""
    images, labels = digits[1]
    assert judge.accuracy > 0.96
    assert judge.trash_rate(images) < 0.15
    assert judge.pool_fidelity(images[labels == 0], 0) > 0.95
    assert judge.pool_fidelity(images[labels == 0], 1) < 0.05


def test_trash_is_called_trash(judge, digits):
    """Noise and overlaid digits are trash far more often than digits are."""
    images, _ = digits[1]
    real = judge.trash_rate(images)
    noise = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    overlaid = 0.5 * (images[:-1] + images[1:])
    assert judge.trash_rate(noise) > real + 0.4
    assert judge.trash_rate(overlaid) > real + 0.25


def test_features_and_probabilities(judge, digits):
    """[N, classes + "none"] that sum to 1, and [N, 128] features that depend on no batch-mates."""
    images, _ = digits[1]
    probabilities, features = judge.look(images[:20])
    assert (probabilities.shape, features.shape) == ((20, 11), (20, 128))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(20))
    torch.testing.assert_close(judge.look(images[:1])[1], features[:1], rtol=1e-4, atol=1e-4)


def test_same_seed_same_network(digits):
    """Training is decided by its seed, and leaves the global generator alone."""
    images, labels = digits[0]
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    one, same, other = (train_classifier(images, labels, classes=10, seed=s, steps=3) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(
        torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True)
    )
    assert not torch.equal(one.last.weight, other.last.weight)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 9, 31), (3, 64, 40), (2, 28, 28)])
def test_images_of_any_shape(shape):
    """Small, non-square, any channels."""
    logits, features = Classifier(shape, classes=3).eval()(torch.rand(2, *shape))
    assert (logits.shape, features.shape) == ((2, 4), (2, 128))


def test_distance_is_that_to_the_fifth_nearest():
    """On a line of points 0, 1, 2 …, the fifth nearest of 0 is 4 away."""
    line = torch.arange(10.0)[:, None]
    torch.testing.assert_close(neighbour_distance(torch.zeros(1, 1), line), torch.tensor([4.0]))


def test_too_little_to_judge_by_is_refused(digits):
    """One class, or fewer images than a neighbourhood wants."""
    images, labels = digits[0]
    with pytest.raises(TrainingError, match="came 1 classes"):
        train_judge((images, labels * 0), (images, labels * 0), classes=1)
    with pytest.raises(TrainingError, match="7 and 7 images"):
        train_judge((images[:7], labels[:7]), (images[:7], labels[:7]), classes=10)
