"""A folder of images: a class per sub-folder, or flat and without labels."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from training.config import FitConfig
from training.data import memory_mapped
from training.data.dataset import Dataset
from training.data.splits import Arrays, checked_images, named_labels, split_by_seed
from training.training_error import TrainingError

FORMATS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
GREY_MODES = frozenset({"1", "L", "LA"})
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for what is no image, or not all of one."""
AHEAD = 512
"""Files decoded ahead of their use."""

log = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]


def load(config: FitConfig) -> Dataset:
    """All images of the folder, in sorted order of their paths."""
    root = Path(config.data)
    files = _files(root)
    if memory_mapped.is_wanted(config, _expected_size(files, config)):
        source = memory_mapped.Source(
            root.name, files, lambda scratch: _read_to_disk(root, files, config, scratch)
        )
        dataset, skipped = memory_mapped.load(source, config)
    else:
        arrays, skipped = _read(root, files, config)
        dataset = split_by_seed(root.name, arrays, config)
    if skipped.count:
        if config.strict:
            raise _unreadable(skipped.first)
        log.warning(
            "%s: skipped %d of %d files, they cannot be read as images; the first is %s",
            root, skipped.count, skipped.total, skipped.first,
        )  # fmt: skip
    return dataset


def _read(root: Path, files: list[Path], config: FitConfig) -> tuple[Arrays, memory_mapped.Skipped]:
    """Decoded into memory."""
    found = [(file, pixels) for file, pixels in _decoded(files, config) if pixels is not None]
    skipped = _skipped(root, files, [file for file, _ in found])
    pictures = [pixels for _, pixels in found]
    look = _common_look(root, Counter((*pixels.shape[:2], pixels.ndim == 2) for pixels in pictures), config)
    images = np.empty((len(pictures), *look), np.uint8)
    for row, pixels in zip(images, pictures, strict=True):
        row[...] = _channels_first(pixels, look[0])
    return Arrays(checked_images(root.name, images), *_labels(root, [file for file, _ in found])), skipped


def _read_to_disk(
    root: Path, files: list[Path], config: FitConfig, scratch: Path
) -> tuple[Arrays, memory_mapped.Skipped]:
    """Decoded into a file in ``scratch``, after a look at the head of each file: all must fit together."""
    with _pool() as pool:
        heads = list(pool.map(lambda file: _head(file, config.image_size), files))
    look = _common_look(root, Counter(head for head in heads if head), config)
    decoded = scratch / "decoded"
    found = []
    with decoded.open("wb") as output:
        hidden = not sys.stderr.isatty()
        for file, pixels in tqdm(_decoded(files, config), "decoding images", len(files), disable=hidden):
            if pixels is not None:
                output.write(_channels_first(pixels, look[0]).tobytes())
                found.append(file)
    skipped = _skipped(root, files, found)
    images = np.memmap(decoded, np.uint8, "r", shape=(len(found), *look))
    return Arrays(images, *_labels(root, found)), skipped


def _skipped(root: Path, files: list[Path], found: list[Path]) -> memory_mapped.Skipped:
    if not found:
        raise TrainingError(f"--data {root}: none of its {len(files)} files can be read as an image")
    missing = sorted(set(files) - set(found))
    return memory_mapped.Skipped(len(missing), len(files), str(missing[0]) if missing else "")


def _unreadable(file: Path | str) -> TrainingError:
    return TrainingError(f"--strict: {file}: cannot be read as an image; want it repaired or removed")


def _expected_size(files: list[Path], config: FitConfig) -> int:
    """Bytes, if all images are like the first one."""
    heads = (_head(file, config.image_size) for file in files)
    height, width, is_grey = next((head for head in heads if head), (0, 0, True))
    channels = 1 if config.channels == "grey" or (config.channels == "auto" and is_grey) else 3
    return len(files) * channels * height * width


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


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(32, 2 * (os.cpu_count() or 1)))  # Pillow decodes without the GIL


def _head(file: Path, size: tuple[int, int] | None) -> tuple[int, int, bool] | None:
    """Height and width, scaled to ``size``, and whether it is grey; without decoding the pixels."""
    try:
        with Image.open(file) as image:
            height, width = size or (image.height, image.width)
            return height, width, image.mode in GREY_MODES or image.mode.startswith("I;16")
    except UNREADABLE:
        return None


def _decoded(files: list[Path], config: FitConfig) -> Iterator[tuple[Path, Pixels | None]]:
    """Every file with its pixels, a few at a time; None for those that cannot be read."""
    with _pool() as pool:
        for start in range(0, len(files), AHEAD):
            some = files[start : start + AHEAD]
            for file, pixels in zip(
                some, pool.map(lambda f: _decode(f, config.image_size), some), strict=True
            ):
                if pixels is None and config.strict:
                    raise _unreadable(file)
                yield file, pixels


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
    except UNREADABLE:
        return None


def _common_look(
    root: Path, looks: "Counter[tuple[int, int, bool]]", config: FitConfig
) -> tuple[int, int, int]:
    """Channels, height and width that all images are to have; ``looks`` counts height, width, is it grey.

    Raises:
        TrainingError: they differ in size.
    """
    sizes: Counter[tuple[int, int]] = Counter()
    for (height, width, _), count in looks.items():
        sizes[height, width] += count
    if len(sizes) > 1:
        (height, width), count = sizes.most_common(1)[0]
        raise TrainingError(
            f"--data {root}: the images have {len(sizes)} sizes, {count} of {sizes.total()} are "
            f"{height}x{width}; want one size, or --image-size HxW to scale them, such as {height}x{width}"
        )
    (height, width), *_ = sizes or [(0, 0)]
    all_grey = all(is_grey for _, _, is_grey in looks)
    grey = config.channels == "grey" or (config.channels == "auto" and all_grey)
    return 1 if grey else 3, height, width


def _channels_first(pixels: Pixels, channels: int) -> Pixels:
    """[1, H, W] or [3, H, W] of a decoded picture."""
    if channels == 1:
        grey = pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
        return grey[None]
    if pixels.ndim == 2:
        return np.broadcast_to(pixels, (3, *pixels.shape))
    return pixels.transpose(2, 0, 1)


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
    if len({part[0] for part in parts}) == 1:
        only = root / parts[0][0]
        raise TrainingError(
            f"--data {root}: want at least two classes, came one sub-folder; for images without labels want "
            f"--data {only}"
        )
    return named_labels(root.name, [part[0] for part in parts], len(files))
