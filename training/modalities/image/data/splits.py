"""From arrays to splits: value range, labels, checksum, shuffle by seed."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from serving.pictures.picture_arrays import MASK_NOTICE, ArrayError, Stored, as_stored, stored_form
from training.config import FitConfig
from training.data.dataset import CHUNK, Dataset, Split
from training.data.label_names import composed, wrong_label
from training.training_error import TrainingError

SMALLEST_IMAGE = 4
"""Height and width below which there is nothing to convolve."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arrays:
    """What a source delivers: images [N, C, H, W] uint8 or float32, labels [N] int64 or None."""

    images: NDArray[Any]
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...]


def split_by_seed(name: str, arrays: Arrays, config: FitConfig) -> Dataset:
    """Shuffle by ``split_seed`` and cut into train, validation and test."""
    parts = split_rows(name, len(arrays.images), config)
    train, validation, held_out = (take(arrays, rows) for rows in parts)
    return Dataset(name, train, validation, held_out, arrays.label_names, content_sha256(arrays))


def split_rows(name: str, count: int, config: FitConfig) -> list[NDArray[np.int64]]:
    """The rows of train, validation and test, each sorted.

    Raises:
        TrainingError: too few images for three parts.
    """
    val = max(1, round(count * config.val_fraction))
    test = max(1, round(count * config.test_fraction))
    if count - val - test < 1:
        raise TrainingError(
            f"--data {name}: {count} images leave none to train on beside {val} + {test} held out"
        )
    order = np.random.default_rng(config.split_seed).permutation(count)
    return [np.sort(part) for part in np.split(order, [count - val - test, count - test])]


def take(arrays: Arrays, rows: slice | NDArray[np.int64]) -> Split:
    """Some rows as tensors; copied in parts, so that a transposed layout costs no second copy of all."""
    numbers = np.arange(len(arrays.images))[rows]
    images = np.empty((len(numbers), *arrays.images.shape[1:]), arrays.images.dtype)
    for start in range(0, len(numbers), CHUNK):
        images[start : start + CHUNK] = arrays.images[numbers[start : start + CHUNK]]
    labels = None if arrays.labels is None else torch.from_numpy(arrays.labels[numbers])
    return Split(torch.from_numpy(images), labels)


def content_sha256(*parts: Arrays) -> str:
    """sha256 of shapes, types and bytes of images and labels."""
    digest = hashlib.sha256()
    for part in parts:
        for array in (part.images, part.labels):
            if array is not None:
                update_digest(digest, array)
    return digest.hexdigest()


def update_digest(digest: "hashlib._Hash", array: NDArray[Any]) -> None:
    """Type, shape and bytes."""
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    for start in range(0, len(array), CHUNK):
        digest.update(np.ascontiguousarray(array[start : start + CHUNK]).data)


def checked_images(name: str, images: NDArray[Any]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """[N, C, H, W] as uint8 or float32.

    Raises:
        TrainingError: as ``checked_form``.
    """
    return as_stored(images, checked_form(name, images))


def checked_form(name: str, images: NDArray[Any]) -> Stored:
    """uint8 for whole numbers and booleans, float32 for fractions; a line is logged where that is a guess.

    Raises:
        TrainingError: values that are neither whole numbers in 0..255 nor fractions in [0, 1].
    """
    if images.ndim != 4 or not len(images) or min(images.shape[2:]) < SMALLEST_IMAGE:
        want = f"[N, C, H, W] with H and W at least {SMALLEST_IMAGE}"
        raise TrainingError(f"--data {name}: want images {want}, came {list(images.shape)}")
    try:
        stored = stored_form(images)
    except ArrayError as exc:
        raise TrainingError(f"--data {name}: {exc}") from None
    if stored.is_mask:
        log.warning("--data %s: %s", name, MASK_NOTICE)
    return stored


def named_labels(
    name: str, values: NDArray[np.generic] | Sequence[str], count: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels [N] or [N, 1] of any kind as indices into their sorted names.

    Raises:
        TrainingError: not one label for each image, fewer than two, or one that no pool can be called.
    """
    values = np.asarray(values)
    if values.shape == (count, 1):
        values = values[:, 0]
    if values.shape != (count,):
        raise TrainingError(f"--data {name}: want one label per image ({count}), came {list(values.shape)}")
    if values.dtype.kind not in "iubUS":
        raise TrainingError(f"--data {name}: want whole numbers or names for labels, came {values.dtype}")
    found, indices = np.unique(values, return_inverse=True)
    raw = [_text(label) for label in found]
    names = tuple(composed(label) for label in raw)
    fault = wrong_label(names)
    if fault:
        raise TrainingError(f"--data {name}: {fault}")
    if len(set(names)) < len(names):
        log.warning("--data %s: labels that differ in their Unicode form alone are taken for one", name)
        kept, merged = np.unique(np.array(names), return_inverse=True)
        names, indices = tuple(str(label) for label in kept), merged[indices]
    if len(names) < 2:
        raise TrainingError(
            f"--data {name}: want at least two classes, or images without labels; came one, {names[0]!r}"
        )
    return indices.astype(np.int64), names


def _text(label: np.generic) -> str:
    """Bytes that are not UTF-8 keep a trace of that, so that they are refused by name."""
    return label.decode("utf-8", "surrogateescape") if isinstance(label, bytes) else str(label)
