"""A folder of images: a class per sub-folder, or flat and without labels."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from serving.pictures.picture_files import (
    Look,
    PictureError,
    Pixels,
    has_picture_name,
    in_channels,
    look,
)
from serving.pictures.picture_folders import FolderError, LeftOut, Listing, left_out_line, listing
from training.config import FitConfig
from training.data.dataset import Dataset
from training.data.label_names import composed, wrong_label
from training.modalities.image.data import memory_mapped
from training.modalities.image.data.picture_readers import PictureReaders
from training.modalities.image.data.splits import Arrays, checked_images, named_labels, split_by_seed
from training.training_error import TrainingError

AHEAD = 512
"""Files decoded ahead of their use."""
SPLIT_FOLDERS = frozenset(
    {"train", "training", "val", "valid", "validation", "dev", "eval", "test", "testing"}
)  # fmt: skip
"""Names, in lower case, of parts that data are often published in; as labels they would mean nothing."""

log = logging.getLogger(__name__)


def load(config: FitConfig, *, labelled: bool = True) -> Dataset:
    """All images of the folder, in sorted order of their paths.

    Args:
        labelled: whether sub-folders are labels; else they mean nothing.

    Raises:
        TrainingError: nothing to read, images of several sizes, or sub-folders that are no labels.
    """
    source = _Folder(Path(config.data), config, labelled)
    if memory_mapped.is_wanted(config, source.expected_size(), to_decode=source.to_decode()):
        dataset, skipped = memory_mapped.load(
            memory_mapped.Source(source.root.name, source.found.files, source.read_to_disk), config
        )
    else:
        arrays, skipped = source.read()
        dataset = split_by_seed(source.root.name, arrays, config)
    if config.strict and skipped.damaged:
        raise _damaged(skipped.damaged)
    if skipped.line:
        log.warning("%s", skipped.line)
    return dataset


class _Folder:
    """What lies in a folder, read as the options say."""

    def __init__(self, root: Path, config: FitConfig, labelled: bool) -> None:
        self.root, self.config, self.labelled = root, config, labelled
        try:
            self.found: Listing = listing(root)
        except FolderError as exc:
            raise TrainingError(f"--data {exc}") from None
        if not self.found.files:
            left_out = "".join(f"; {path}: {reason}" for path, reason in self.found.left_out[:1])
            raise TrainingError(f"--data {root}: want a folder with images, found none{left_out}")
        if labelled:  # before hours of decoding
            self._check_names({self._top(file) for file in self.found.files} - {""})

    def expected_size(self) -> int:
        """Bytes, if all images are like the first one."""
        looks = (self._look(file) for file in self.found.files)
        first = next((found for found in looks if found), Look(0, 0, True))
        grey = first.is_grey if self.config.channels == "auto" else self.config.channels == "grey"
        return len(self.found.files) * (1 if grey else 3) * first.height * first.width

    def to_decode(self) -> int:
        """Bytes of files that are scaled, so that reading them each time may be slow."""
        if not self.config.image_size:
            return 0
        return sum(file.stat().st_size for file in self.found.files if file.is_file())

    def read(self) -> tuple[Arrays, memory_mapped.Skipped]:
        """Decoded into memory."""
        wrong: list[PictureError] = []
        files, pictures = [], []
        for file, pixels in self._decoded(wrong):
            files.append(file)
            pictures.append(pixels)
        skipped = self._skipped(wrong)
        shape = self._common_shape(Counter(Look(len(p), p.shape[1], p.ndim == 2) for p in pictures))
        labels = self._labels(files)
        images = np.empty((len(pictures), *shape), np.uint8)
        for row, pixels in zip(images, pictures, strict=True):
            row[...] = in_channels(pixels, shape[0])
        return Arrays(checked_images(self.root.name, images), *labels), skipped

    def read_to_disk(self, scratch: Path) -> tuple[Arrays, memory_mapped.Skipped]:
        """Decoded into a file in ``scratch``, after a look at the head of each: all must fit together."""
        with _pool() as pool:
            looks = list(pool.map(self._look, self.found.files))
        shape = self._common_shape(Counter(found for found in looks if found))
        decoded = scratch / "decoded"
        wrong: list[PictureError] = []
        files = []
        with decoded.open("wb") as output:
            for file, pixels in self._decoded(wrong, hidden=not sys.stderr.isatty()):
                output.write(in_channels(pixels, shape[0]).tobytes())
                files.append(file)
        skipped = self._skipped(wrong)
        images = np.memmap(decoded, np.uint8, "r", shape=(len(files), *shape))
        return Arrays(images, *self._labels(files)), skipped

    def _look(self, file: Path) -> Look | None:
        try:
            found = look(file)
        except PictureError:
            return None
        return Look(*self.config.image_size, found.is_grey) if self.config.image_size else found

    def _decoded(self, wrong: list[PictureError], *, hidden: bool = True) -> Iterator[tuple[Path, Pixels]]:
        """Every file that can be read with its pixels, a few at a time; what cannot is told to ``wrong``."""
        files = self.found.files
        readers = PictureReaders(len(files), self.config.image_size)
        with readers, tqdm(None, "decoding images", len(files), disable=hidden) as progress:
            for start in range(0, len(files), AHEAD):
                some = files[start : start + AHEAD]
                for file, pixels in zip(some, readers.read(some), strict=True):
                    progress.update()
                    if not isinstance(pixels, PictureError):
                        yield file, pixels
                    elif self.config.strict and has_picture_name(file):
                        raise _damaged(str(pixels))
                    else:
                        wrong.append(pixels)

    def _skipped(self, wrong: list[PictureError]) -> memory_mapped.Skipped:
        """Raises TrainingError where nothing is left."""
        count = len(self.found.files)
        if len(wrong) == count:
            raise TrainingError(
                f"--data {self.root}: none of its {count} files can be read as an image; the first is "
                f"{wrong[0]}"
            )
        left_out = [*(LeftOut(exc.file, exc.reason) for exc in wrong), *self.found.left_out]
        if not left_out:
            return memory_mapped.Skipped()
        damaged = next((str(exc) for exc in wrong if has_picture_name(exc.file)), "")
        return memory_mapped.Skipped(
            left_out_line(self.root, left_out, count + len(self.found.left_out)), damaged
        )

    def _common_shape(self, looks: "Counter[Look]") -> tuple[int, int, int]:
        """Channels, height and width that all images are to have.

        Raises:
            TrainingError: they differ in size.
        """
        sizes: Counter[tuple[int, int]] = Counter()
        for (height, width, _), count in looks.items():
            sizes[height, width] += count
        if len(sizes) > 1:
            (height, width), count = sizes.most_common(1)[0]
            raise TrainingError(
                f"--data {self.root}: the images have {len(sizes)} sizes, {count} of {sizes.total()} are "
                f"{height}x{width}; want one size, or --image-size HxW to scale them, such as "
                f"{height}x{width}"
            )
        (height, width), *_ = sizes or [(0, 0)]
        all_grey = all(found.is_grey for found in looks)
        grey = self.config.channels == "grey" or (self.config.channels == "auto" and all_grey)
        return 1 if grey else 3, height, width

    def _labels(self, files: list[Path]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """The first sub-folder is the label; without sub-folders there are none."""
        parts = [file.relative_to(self.root).parts for file in files]
        flat = sum(len(part) == 1 for part in parts)
        if flat == len(files) or not self.labelled:
            return None, ()
        if flat:
            raise TrainingError(
                f"--data {self.root}: {flat} images lie beside sub-folders with {len(files) - flat}; "
                "want all in sub-folders (labelled) or none (unlabelled)"
            )
        names = sorted({part[0] for part in parts})
        self._check_names(names)
        if len(names) == 1:
            raise TrainingError(
                f"--data {self.root}: want at least two classes, came one sub-folder; for images without "
                f"labels want --data {self.root / names[0]}"
            )
        return named_labels(self.root.name, [part[0] for part in parts], len(files))

    def _top(self, file: Path) -> str:
        """The sub-folder directly below the root that the file lies in, "" if none."""
        parts = file.relative_to(self.root).parts
        return parts[0] if len(parts) > 1 else ""

    def _check_names(self, names: Collection[str]) -> None:
        """Raises TrainingError for sub-folders that are no labels."""
        if names and all(name.lower() in SPLIT_FOLDERS for name in names):
            part = min(names, key=lambda name: (not name.lower().startswith("train"), name))
            came = ", ".join(sorted(names))
            raise TrainingError(
                f"--data {self.root}: want a class per sub-folder, came {came}, parts of a data set; "
                f"want --data {self.root / part}"
            )
        fault = wrong_label(map(composed, sorted(names)))
        if fault:
            raise TrainingError(f"--data {self.root}: {fault}")


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(32, 2 * (os.cpu_count() or 1)))  # Pillow decodes without the GIL


def _damaged(what: str) -> TrainingError:
    return TrainingError(f"--strict: {what}; want it repaired or removed")
