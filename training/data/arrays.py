"""Images and labels from ``.npz`` and ``.npy`` files."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig
from training.data import memory_mapped
from training.data.dataset import Dataset
from training.data.splits import Arrays, checked_images, named_labels, split_by_seed
from training.training_error import TrainingError

COLOUR_AXIS = (1, 3, 4)
"""Lengths by which a last axis is taken for colour (grey, RGB, RGBA)."""


def load(config: FitConfig) -> Dataset:
    """``images`` and, if there are any, ``labels`` of an ``.npz``, or the one array of an ``.npy``."""
    path = Path(config.data)
    images, labels = _read(path)
    images = _channels_first(images)
    if path.suffix == ".npy" and memory_mapped.is_wanted(config, images.nbytes):
        arrays = Arrays(images, None, ())
        return memory_mapped.load(
            memory_mapped.Source(path.stem, [path], lambda _: (arrays, memory_mapped.Skipped())), config
        )[0]
    images = checked_images(path.name, images)
    if labels is None:
        return split_by_seed(path.stem, Arrays(images, None, ()), config)
    return split_by_seed(path.stem, Arrays(images, *named_labels(path.name, labels, len(images))), config)


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Of an ``.npy`` nothing is read yet, it is mapped."""
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, None
        with content:
            if "images" not in content:
                found = ", ".join(sorted(content)) or "nothing"
                raise TrainingError(f"--data {path}: want an array 'images', found {found}")
            return content["images"], content.get("labels")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise TrainingError(f"--data {path}: cannot be read: {exc}") from None


def _channels_first(images: NDArray[Any]) -> NDArray[Any]:
    """[N, H, W], [N, H, W, C] or [N, C, H, W] as [N, C, H, W]; in doubt, channels come first."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in COLOUR_AXIS and images.shape[1] not in COLOUR_AXIS:
        return images.transpose(0, 3, 1, 2)
    return images
