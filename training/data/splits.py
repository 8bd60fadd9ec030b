"""From arrays to splits: value range, labels, checksum, shuffle by seed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.config import FitConfig
from training.data.dataset import Dataset, Split
from training.errors import TrainingError

SMALLEST_IMAGE = 4
"""Height and width below which there is nothing to convolve."""


@dataclass(frozen=True)
class Arrays:
    """What a source delivers: images [N, C, H, W] uint8 or float32, labels [N] int64 or None."""

    images: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...]


def split_by_seed(name: str, arrays: Arrays, config: FitConfig) -> Dataset:
    """Shuffle by ``split_seed`` and cut into train, validation and test."""
    count = len(arrays.images)
    val = max(1, round(count * config.val_fraction))
    test = max(1, round(count * config.test_fraction))
    if count - val - test < 1:
        raise TrainingError(
            f"--data {name}: {count} images leave none to train on beside {val} + {test} held out"
        )
    order = np.random.default_rng(config.split_seed).permutation(count)
    parts = np.split(order, [count - val - test, count - test])
    train, validation, held_out = (take(arrays, np.sort(part)) for part in parts)
    return Dataset(name, train, validation, held_out, arrays.label_names, content_sha256(arrays))


def take(arrays: Arrays, rows: slice | NDArray[np.int64]) -> Split:
    """Some rows as tensors."""
    labels = None if arrays.labels is None else torch.from_numpy(arrays.labels[rows])
    return Split(torch.from_numpy(np.ascontiguousarray(arrays.images[rows])), labels)


def content_sha256(*parts: Arrays) -> str:
    """sha256 of shapes, types and bytes of images and labels."""
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.images, part.labels):
            if array is not None:
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def checked_images(name: str, images: NDArray[np.generic]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """[N, C, H, W] as uint8 or float32.

    Raises:
        TrainingError: values that are neither whole numbers in 0..255 nor fractions in [0, 1].
    """
    if images.ndim != 4 or not len(images) or min(images.shape[2:]) < SMALLEST_IMAGE:
        want = f"[N, C, H, W] with H and W at least {SMALLEST_IMAGE}"
        raise TrainingError(f"--data {name}: want images {want}, came {list(images.shape)}")
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    if images.dtype == bool:
        return images.astype(np.uint8) * np.uint8(255)
    if images.dtype.kind not in "iuf":
        raise TrainingError(f"--data {name}: want numbers for images, came {images.dtype}")
    low, high = float(images.min()), float(images.max())
    whole = images.dtype.kind in "iu"
    limit = 255 if whole else 1
    if not (low >= 0 and high <= limit):  # written so that NaN is refused
        want = "whole numbers in 0..255 or fractions in [0, 1]"
        raise TrainingError(f"--data {name}: want {want}, came {images.dtype} from {low:g} to {high:g}")
    return images.astype(np.uint8) if whole else images.astype(np.float32)


def named_labels(
    name: str, values: NDArray[np.generic] | Sequence[str], count: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels of any kind as indices into their sorted names."""
    values = np.asarray(values)
    if values.shape != (count,):
        raise TrainingError(f"--data {name}: want one label per image ({count}), came {list(values.shape)}")
    if values.dtype.kind not in "iubUS":
        raise TrainingError(f"--data {name}: want whole numbers or names for labels, came {values.dtype}")
    names, indices = np.unique(values, return_inverse=True)
    if values.dtype.kind == "S":
        names = np.char.decode(names, "utf-8")
    return indices.astype(np.int64), tuple(str(label) for label in names)
