"""A classifier of real digits says what was sampled."""

from typing import NamedTuple

import torch

from demo.calls import Answers, Autoencoder
from training import modalities
from training.config import FitConfig
from training.data import Dataset, to_unit
from training.evaluate.features.classifier import Judge, train_judge

CLASSIFIER_STEPS = 400


class Verdict(NamedTuple):
    """Shares, 0 to 1."""

    accuracy: float
    """Of the classifier on real test digits."""
    fidelity: dict[str, float]
    """By pool: samples that the classifier takes for that digit."""
    trash: float
    """Samples of the prior that are no clear member of any class or unlike any real digit."""
    pool_trash: float
    """The same of the pools' samples."""
    autoencoder_trash: float
    """The same of random latents that an autoencoder decodes."""
    fitted_trash: float
    """The same where its latents come from a Gaussian fitted to them."""
    real_trash: float
    """The same of real test digits: what a perfect model would have."""
    pool_accuracy: float
    """Test digits whose likeliest pool, by Encode, is that of their label."""


def load_digits() -> Dataset:
    """The data of the demo with the split that ``vae-train fit`` makes."""
    return modalities.load(FitConfig.parse({"data": "digits"}))


def judge(answers: Answers, autoencoder: Autoencoder, dataset: Dataset) -> Verdict:
    """Train the classifier, a few seconds, and look at the samples."""
    judging = _train(dataset)
    names = dataset.label_names
    fidelity = {
        name: judging.pool_fidelity(_unit(answers, images), names.index(name))
        for name, images in answers.pools.items()
    }
    probabilities = answers.posteriors.pool_probabilities
    assert probabilities is not None
    assert dataset.test.labels is not None
    found = torch.from_numpy(probabilities).argmax(dim=1)
    labels = torch.tensor([names.index(pool) for pool in answers.posteriors.pools])[found]
    return Verdict(
        accuracy=judging.accuracy,
        fidelity=fidelity,
        trash=judging.trash_rate(_unit(answers, answers.samples)),
        pool_trash=judging.trash_rate(torch.cat([_unit(answers, rows) for rows in answers.pools.values()])),
        autoencoder_trash=judging.trash_rate(_unit(answers, autoencoder.samples)),
        fitted_trash=judging.trash_rate(_unit(answers, autoencoder.fitted)),
        real_trash=judging.trash_rate(to_unit(dataset.test.images)),
        pool_accuracy=float((labels == dataset.test.labels).float().mean()),
    )


def _train(dataset: Dataset) -> Judge:
    train, test = dataset.train, dataset.test
    assert train.labels is not None
    assert test.labels is not None
    torch.set_num_threads(1)  # so small a network computes faster than its threads can meet
    return train_judge(
        (to_unit(train.images), train.labels),
        (to_unit(test.images), test.labels),
        classes=len(dataset.label_names),
        steps=CLASSIFIER_STEPS,
    )


def _unit(answers: Answers, images: "torch.Tensor | object") -> torch.Tensor:
    low, high = answers.model.value_range
    return (torch.as_tensor(images) - low) / (high - low)
