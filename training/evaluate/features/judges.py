"""Which network looks at the samples of a data set."""

from typing import NamedTuple

from torch import Tensor

from training.data import Dataset, Split, to_unit
from training.evaluate.features import IMAGE_SHAPE, mnist_network
from training.evaluate.features.classifier import Judge, calibrated, train_judge
from training.training_error import TrainingError

BATCH = 128
MOST_STEPS = 1000
EPOCHS = 40
"""Over few images the classifier learns no more after so many passes."""


class Features(NamedTuple):
    """The judge, and the name of the feature space that every figure carries with it."""

    judge: Judge
    name: str


def features_for(dataset: Dataset, *, seed: int) -> Features:
    """For MNIST the committed network; else one trained here, on the training images of the data set.

    Both are calibrated on the validation images: see ``training.evaluate.features.classifier``.

    Raises:
        TrainingError: the images have no labels.
    """
    train, val = _labelled(dataset, dataset.train), _labelled(dataset, dataset.val)
    if (dataset.name, dataset.image_shape) == ("mnist", IMAGE_SHAPE):
        network = mnist_network()
        return Features(calibrated(network.classifier, train[0], val), f"mnist {network.sha256[:12]}")
    steps = min(MOST_STEPS, EPOCHS * -(-len(train[0]) // BATCH))
    judge = train_judge(train, val, classes=len(dataset.label_names), seed=seed, steps=steps)
    return Features(judge, f"classifier of {dataset.name} {dataset.sha256[:12]}, seed {seed}")


def _labelled(dataset: Dataset, split: Split) -> tuple[Tensor, Tensor]:
    if split.labels is None:
        raise TrainingError(
            f"--samples: want images with labels, which the network that compares them learns; "
            f"{dataset.name} has none"
        )
    return to_unit(split.images), split.labels
