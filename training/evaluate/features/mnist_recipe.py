"""Train the feature network of MNIST anew.

``python -m training.evaluate.features.mnist_recipe --data-dir path/to/idx`` writes the weights and their
card beside this file. New weights change every figure that is measured in their features, so they are
committed rarely, and never without the figures of before beside those of after.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from training import modalities
from training.config import FitConfig
from training.data import Split, to_unit
from training.evaluate.features import CARD, CLASSES, IMAGE_SHAPE, WEIGHTS
from training.evaluate.features.classifier import FEATURES, Classifier, train_classifier
from training.training_error import TrainingError

WANTED_ACCURACY = 0.992
"""Of the test images put right; a network that sees less is no judge of digits."""


def main() -> int:
    """The exit code: 2 for what the user can put right."""
    options = _options()
    try:
        print(json.dumps(fit(options), indent=2))
    except TrainingError as exc:
        print(f"features: error: {exc}", file=sys.stderr)
        return 2
    return 0


def fit(options: argparse.Namespace) -> dict[str, object]:
    """Train on the training images, test on the test images, write both files; the card.

    Raises:
        TrainingError: no data, or a network below ``WANTED_ACCURACY``; then nothing is written.
    """
    torch.set_num_threads(options.threads)
    values = {"data": "mnist", "data_dir": options.data_dir}
    dataset = modalities.load(FitConfig.parse({name: value for name, value in values.items() if value}))
    train, val, test = (_labelled(split) for split in (dataset.train, dataset.val, dataset.test))
    began = time.perf_counter()
    network = train_classifier(*train, classes=CLASSES, seed=options.seed, steps=options.steps)
    seconds = time.perf_counter() - began
    weights = {name: _halved(tensor) for name, tensor in network.state_dict().items()}
    accuracy = _accuracy(weights, *test)
    if accuracy < WANTED_ACCURACY:
        raise TrainingError(
            f"--steps {options.steps}: want at least {WANTED_ACCURACY:.1%} of the test images right, "
            f"came {accuracy:.2%}"
        )
    content = safetensors.torch.save(weights)
    card: dict[str, object] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "test_accuracy": round(accuracy, 4),
        "val_accuracy": round(_accuracy(weights, *val), 4),
        "trained_on": len(train[0]),
        "dataset_sha256": dataset.sha256,
        "features": FEATURES,
        "steps": options.steps,
        "seed": options.seed,
        "seconds": round(seconds),
        "threads": options.threads,
        "torch": torch.__version__,
    }
    _replace(options.output / WEIGHTS.name, content)
    _replace(options.output / CARD.name, (json.dumps(card, indent=2) + "\n").encode())
    return card


@torch.inference_mode()
def _accuracy(weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> float:
    """Of the network that the file will give, not of the one before rounding."""
    classifier = Classifier(IMAGE_SHAPE, CLASSES)
    classifier.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    found = [classifier.eval()(rows)[0].argmax(dim=1) for rows in images.split(500)]
    return float((torch.cat(found) == labels).float().mean())


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _labelled(split: Split) -> tuple[Tensor, Tensor]:
    assert split.labels is not None  # MNIST has them
    return to_unit(split.images), split.labels


def _replace(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as exc:
        raise TrainingError(f"--output {path.parent}: cannot be written: {exc.strerror}") from None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the network in whose features MNIST is measured.")
    parser.add_argument("--data-dir", type=Path, help="folder with the four IDX files; left out: downloaded")
    parser.add_argument("--steps", type=int, default=2400, help="(default: 2400)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1)")
    parser.add_argument("--output", type=Path, default=WEIGHTS.parent, help="(default: beside this code)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
