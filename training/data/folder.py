"""A folder of images: a class per sub-folder, or flat and without labels."""

import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.config import FitConfig
from training.data.dataset import Dataset
from training.data.splits import Arrays, checked_images, named_labels, split_by_seed
from training.errors import TrainingError

FORMATS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
GREY_MODES = frozenset({"1", "L", "LA"})

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]


def load(config: FitConfig) -> Dataset:
    """All images of the folder, in sorted order of their paths."""
    root = Path(config.data)
    files = _files(root)
    with ThreadPoolExecutor(min(32, 2 * (os.cpu_count() or 1))) as pool:  # Pillow decodes without the GIL
        decoded = list(pool.map(lambda file: _decode(file, config.image_size), files))
    found = [(file, pixels) for file, pixels in zip(files, decoded, strict=True) if pixels is not None]
    if skipped := len(files) - len(found):
        first = next(file for file, pixels in zip(files, decoded, strict=True) if pixels is None)
        log.warning(
            "%s: skipped %d of %d files, they cannot be read as images; the first is %s",
            root,
            skipped,
            len(files),
            first,
        )
    if not found:
        raise TrainingError(f"--data {root}: none of its {len(files)} files can be read as an image")
    images = _stack(root, [pixels for _, pixels in found], config.channels)
    labels = _labels(root, [file for file, _ in found])
    return split_by_seed(root.name, Arrays(checked_images(root.name, images), *labels), config)


def _files(root: Path) -> list[Path]:
    """Sorted; hidden files and folders are left out."""
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in FORMATS
        and not any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
        and path.is_file()
    )
    if not files:
        raise TrainingError(
            f"--data {root}: want a folder with images ({' '.join(sorted(FORMATS))}), found none"
        )
    return files


def _decode(file: Path, size: tuple[int, int] | None) -> Pixels | None:
    """[H, W] for grey, [H, W, 3] for any other mode; None for what is not an image."""
    try:
        with Image.open(file) as image:
            if image.mode.startswith("I;16"):  # 16 bits a pixel, which convert() would clip
                picture = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            else:
                picture = image.convert("L" if image.mode in GREY_MODES else "RGB")
            if size:
                picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.LANCZOS)
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _stack(root: Path, pictures: list[Pixels], channels: str) -> Pixels:
    """[N, C, H, W]"""
    sizes = Counter(pixels.shape[:2] for pixels in pictures)
    if len(sizes) > 1:
        (height, width), count = sizes.most_common(1)[0]
        raise TrainingError(
            f"--data {root}: the images have {len(sizes)} sizes, {count} of {len(pictures)} are "
            f"{height}x{width}; want one size, or --image-size HxW to scale them, such as {height}x{width}"
        )
    grey = channels == "grey" or (channels == "auto" and all(pixels.ndim == 2 for pixels in pictures))
    as_wanted = _to_grey if grey else _to_rgb
    height, width = pictures[0].shape[:2]
    stacked = np.empty((len(pictures), 1 if grey else 3, height, width), np.uint8)
    for row, pixels in zip(stacked, pictures, strict=True):
        row[...] = as_wanted(pixels)
    return stacked


def _to_grey(pixels: Pixels) -> Pixels:
    grey = pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
    return grey[None]


def _to_rgb(pixels: Pixels) -> Pixels:
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _labels(root: Path, files: list[Path]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """The first sub-folder is the label; without sub-folders there are none."""
    parts = [file.relative_to(root).parts for file in files]
    flat = sum(len(part) == 1 for part in parts)
    if flat == len(files):
        return None, ()
    if flat:
        raise TrainingError(
            f"--data {root}: {flat} images lie beside sub-folders with {len(files) - flat}; "
            "want all in sub-folders (labelled) or none (unlabelled)"
        )
    return named_labels(root.name, [part[0] for part in parts], len(files))
