"""Images and labels from ``.npz`` and ``.npy`` files."""

import logging
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serving.pictures.picture_arrays import ArrayError, channels_first, read_arrays
from training.config import FitConfig
from training.data.dataset import Dataset
from training.modalities.image.data import memory_mapped
from training.modalities.image.data.splits import Arrays, checked_images, named_labels, split_by_seed
from training.training_error import TrainingError

log = logging.getLogger(__name__)


def load(config: FitConfig) -> Dataset:
    """``images`` and, if there are any, ``labels`` of an ``.npz``, or the one array of an ``.npy``."""
    path = Path(config.data)
    images, labels = _read(path)
    images = channels_first(images)
    if path.suffix.lower() == ".npy" and memory_mapped.is_wanted(config, images.nbytes):
        arrays = Arrays(images, None, ())
        return memory_mapped.load(
            memory_mapped.Source(path.stem, [path], lambda _: (arrays, memory_mapped.Skipped())), config
        )[0]
    images = checked_images(path.name, images)
    if labels is None:
        return split_by_seed(path.stem, Arrays(images, None, ()), config)
    return split_by_seed(path.stem, Arrays(images, *named_labels(path.name, labels, len(images))), config)


def _read(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Of an ``.npy`` nothing is read yet, it is memory_mapped."""
    try:
        file = read_arrays(path, ("images", "labels"))
    except ArrayError as exc:
        raise TrainingError(f"--data {path}: {exc}") from None
    images = file.arrays.get("" if file.names == ("",) else "images")
    if images is None:
        found = ", ".join(sorted(file.names)) or "nothing"
        raise TrainingError(f"--data {path}: want an array 'images', found {found}")
    unread = ", ".join(sorted({*file.names} - {"", "images", "labels"}))
    if unread:
        log.warning("--data %s: only images and labels are read, not %s", path, unread)
    return images, file.arrays.get("labels")
