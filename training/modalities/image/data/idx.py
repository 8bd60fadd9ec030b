"""MNIST and Fashion-MNIST: four IDX files, from a folder or downloaded.

The IDX format: two zero bytes, the type (8 is uint8), the number of dimensions, then each dimension
as a big-endian int32, then the values. See http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.config import FitConfig
from training.data.dataset import Dataset
from training.modalities.image.data.download import SOURCES, Source, fetch
from training.modalities.image.data.splits import Arrays, checked_images, content_sha256, take
from training.training_error import TrainingError

VALIDATION_START = 50_000
"""Images from here on validate: the split of the VampPrior code and most of the literature."""

DIGIT_NAMES = tuple(str(digit) for digit in range(10))
LABEL_NAMES = {
    "mnist": DIGIT_NAMES,
    "fashion-mnist": (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot",
    ),
}  # fmt: skip


def load(config: FitConfig) -> Dataset:
    """The data set with its published split: 50,000 / 10,000 / 10,000."""
    source = SOURCES[config.data]
    folder = config.data_dir or _downloaded(source, config)
    train, test = (
        _pair(config.data, folder, images, labels) for images, labels in (source.files[:2], source.files[2:])
    )
    # Smaller files in the same format keep the proportion.
    cut = min(VALIDATION_START, len(train.images) * 5 // 6)
    if not cut:
        raise TrainingError(f"{folder}: {len(train.images)} training images leave none beside validation")
    return Dataset(
        config.data,
        take(train, slice(None, cut)),
        take(train, slice(cut, None)),
        take(test, slice(None)),
        LABEL_NAMES[config.data],
        content_sha256(train, test),
    )


def default_cache() -> Path:
    """Where downloads go unless ``--cache-dir`` says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vaeserve"


def _downloaded(source: Source, config: FitConfig) -> Path:
    folder = (config.cache_dir or default_cache()) / config.data
    for name in source.files:
        fetch(source, name, folder)
    return folder


def _pair(name: str, folder: Path, images_file: str, labels_file: str) -> Arrays:
    images, labels = read_idx(folder, images_file), read_idx(folder, labels_file)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise TrainingError(
            f"{folder}: {images_file} {images.shape} and {labels_file} {labels.shape} do not fit together"
        )
    if labels.max(initial=0) >= len(LABEL_NAMES[name]):
        raise TrainingError(f"{folder / labels_file}: want labels 0 to 9, came {labels.max()}")
    return Arrays(checked_images(name, images[:, None]), labels.astype(np.int64), LABEL_NAMES[name])


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """The array in ``name`` or ``name.gz``.

    Raises:
        TrainingError: the file is missing, truncated or not IDX with bytes.
    """
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise TrainingError(f"--data-dir {folder}: missing {name} (or {name}.gz)")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as exc:
        raise TrainingError(f"{path}: cannot be read: {exc}") from None
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise TrainingError(f"{path}: want an IDX file of bytes, it begins with {content[:4].hex()}")
    start = 4 + 4 * content[3]
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">i4"))
    if len(content) - start != math.prod(shape):
        raise TrainingError(
            f"{path}: want {math.prod(shape)} bytes for shape {shape}, came {len(content) - start}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()  # writable, for torch
