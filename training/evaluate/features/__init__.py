"""The network in whose features samples of MNIST are compared: ours, small, committed with its recipe.

Figures in these features compare with each other alone, never with those of another network, such as
Inception. ``training.evaluate.features.mnist_recipe`` is the recipe.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from safetensors import SafetensorError

from training.evaluate.features.classifier import Classifier
from training.training_error import TrainingError

IMAGE_SHAPE = (1, 28, 28)
CLASSES = 10
WEIGHTS = Path(__file__).parent / "mnist.safetensors"
CARD = WEIGHTS.with_suffix(".json")
"""What ``mnist_recipe`` says of the weights: their sha256, accuracy and recipe."""


class FeatureNetwork(NamedTuple):
    """A trained classifier; its penultimate layer is the feature space."""

    classifier: Classifier
    sha256: str
    """Of the file with the weights; figures compare where this is the same."""


@cache
def mnist_network(weights: Path = WEIGHTS, card: Path = CARD) -> FeatureNetwork:
    """The committed network, in evaluation mode, float32.

    Raises:
        TrainingError: the files are missing or the weights are not the ones the card names.
    """
    try:
        content = weights.read_bytes()
        wanted = json.loads(card.read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise TrainingError(f"{weights.parent}: the feature network cannot be read: {exc}") from None
    came = hashlib.sha256(content).hexdigest()
    if came != wanted:
        raise TrainingError(f"{weights}: want sha256 {wanted}, came {came}")
    classifier = Classifier(IMAGE_SHAPE, CLASSES)
    try:
        stored = safetensors.torch.load(content)  # float16: half the size, the same classes
        classifier.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    except (SafetensorError, RuntimeError) as exc:
        raise TrainingError(f"{weights}: not the weights of the feature network: {exc!s:.200}") from None
    return FeatureNetwork(classifier.eval().requires_grad_(False), came)
