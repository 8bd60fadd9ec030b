"""What the data are, shown before training; and whether the likelihood fits them."""

from dataclasses import dataclass

import numpy as np
import torch

from training.data.dataset import CHUNK, Dataset
from training.training_error import TrainingError


@dataclass(frozen=True)
class Statistics:
    """Of the training images, values in [0, 1]."""

    minimum: float
    mean: float
    maximum: float
    between: float
    """Share of pixels strictly between 0 and 1: 0 for binary images."""


def statistics(dataset: Dataset) -> Statistics:
    """Chunked, and of bytes without making them floats: there may be gigabytes of them."""
    images = dataset.train.images
    one = 255 if images.dtype == torch.uint8 else 1
    low, high, total, ends = one, 0, 0.0, 0
    for chunk in images.split(CHUNK):
        pixels = chunk.numpy()
        low, high = min(low, pixels.min().item()), max(high, pixels.max().item())
        total += float(pixels.sum(dtype=np.uint64 if one == 255 else np.float64))
        ends += int(np.count_nonzero(pixels == 0) + np.count_nonzero(pixels == one))
    count = images.numel()
    return Statistics(low / one, total / one / count, high / one, 1 - ends / count)


def describe(dataset: Dataset, found: Statistics) -> str:
    """A few lines for the terminal."""
    channels, height, width = dataset.image_shape
    sizes = f"{len(dataset.train):,} train, {len(dataset.val):,} val, {len(dataset.test):,} test"
    lines = [
        f"data      {dataset.name}: {sizes} images of {channels}×{height}×{width}",
        f"sha256    {dataset.sha256}",
        f"values    {found.minimum:.3g} to {found.maximum:.3g}, mean {found.mean:.3f}; "
        f"{found.between:.1%} of the pixels lie strictly between 0 and 1",
    ]
    return "\n".join([*lines, f"labels    {_labels(dataset)}"])


def _labels(dataset: Dataset) -> str:
    if dataset.train.labels is None:
        return "none"
    counts = torch.bincount(dataset.train.labels, minlength=len(dataset.label_names)).tolist()
    shown = [f"{name} ({count:,})" for name, count in zip(dataset.label_names, counts, strict=True)]
    more = f", … {len(shown)} in all" if len(shown) > 12 else ""
    return ", ".join(shown[:12]) + more


def check(dataset: Dataset, found: Statistics, *, likelihood: str, binarisation: str) -> None:
    """Raises TrainingError where the likelihood would not be one for these values."""
    if found.minimum == found.maximum:
        raise TrainingError(f"--data {dataset.name}: every pixel of the training images is {found.minimum:g}")
    if likelihood == "bernoulli" and binarisation == "none" and found.between > 0:
        raise TrainingError(
            f"--binarisation none: a Bernoulli likelihood wants pixels of 0 or 1, {found.between:.1%} lie "
            "between; want --binarisation dynamic or --likelihood gaussian"
        )
