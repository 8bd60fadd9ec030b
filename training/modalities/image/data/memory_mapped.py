"""Images that do not fit in memory: prepared once as files on disk, then mapped into memory.

``<cache>/mapped/<key>/`` holds ``train.npy``, ``val.npy`` and ``test.npy`` [N, C, H, W]: each split in one
piece, so that it is a tensor like any other, of which only what is looked at is read. Beside them lie
their labels, if there are any, and ``about.json``. The key is a digest of the source's paths, sizes and
times of change and of the options, so a changed source is prepared anew. Splits and checksum are those of
the same images in memory.
"""

import hashlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import torch
from tqdm import tqdm

from serving.pictures.picture_arrays import Stored, as_stored
from training.config import FitConfig
from training.data.dataset import CHUNK, Dataset, Split
from training.modalities.image.data.idx import default_cache
from training.modalities.image.data.splits import Arrays, checked_form, split_rows, update_digest
from training.training_error import TrainingError

LIMIT = 2 * 2**30
"""Bytes of images from which on ``--in-memory auto`` maps them."""
LIMIT_OF_FILES = 2**29
"""Bytes of files that ``--image-size`` scales: some minutes of decoding, which each command would take."""
FORMAT = 2
OPTIONS = ("image_size", "channels", "val_fraction", "test_fraction", "split_seed")
"""Fields of the config that decide what the files hold."""
SPLITS = ("train", "val", "test")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skipped:
    """Files that could not be read."""

    line: str = ""
    """How many, and the first few by name; empty if there are none."""
    damaged: str = ""
    """What is wrong with the first that has a picture's name, if there is one: ``--strict`` refuses it."""


@dataclass(frozen=True)
class Source:
    """Where images come from."""

    name: str
    files: Sequence[Path]
    read: Callable[[Path], tuple[Arrays, Skipped]]
    """Gives images that can be looked at in parts; may put files into the folder, which is deleted later."""


def is_wanted(config: FitConfig, size: int, *, to_decode: int = 0) -> bool:
    """Whether images of so many bytes, from files of ``to_decode`` bytes, are to be memory_mapped."""
    is_much = size > LIMIT or to_decode > LIMIT_OF_FILES
    return config.in_memory == "no" or (config.in_memory == "auto" and is_much)


def load(source: Source, config: FitConfig) -> tuple[Dataset, Skipped]:
    """The data set, prepared before its first use.

    Raises:
        TrainingError: as for images in memory; or the cache cannot be written or read.
    """
    root = (config.cache_dir or default_cache()) / "mapped"
    folder = root / _key(source, config)
    if not folder.is_dir():
        with _scratch(root) as scratch:
            arrays, skipped = source.read(scratch)
            ready = scratch / "ready"
            ready.mkdir()
            stored = checked_form(source.name, arrays.images)
            log.info("%s: writing %d images to %s", source.name, len(arrays.images), folder)
            _prepare(source.name, arrays, stored, skipped, config, ready)
            _publish(ready, folder)
    return _open(source.name, folder)


def _key(source: Source, config: FitConfig) -> str:
    digest = hashlib.sha256()
    for file in source.files:
        stat = file.stat()
        digest.update(os.fsencode(file) + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    options = {name: getattr(config, name) for name in OPTIONS} | {"format": FORMAT}
    digest.update(json.dumps(options).encode())
    return digest.hexdigest()[:32]


@contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    """A folder beside the result, gone afterwards whatever happens."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".preparing-", dir=root) as scratch:
            yield Path(scratch)
    except OSError as exc:
        raise TrainingError(f"--cache-dir {root.parent}: cannot be written: {exc.strerror or exc}") from None


def _prepare(
    name: str, arrays: Arrays, stored: Stored, skipped: Skipped, config: FitConfig, folder: Path
) -> None:
    """Write the files of a folder; the images are read once, from the first to the last."""
    images, dtype = arrays.images, stored.dtype
    parts = split_rows(name, len(images), config)
    digest = hashlib.sha256(f"{dtype.str}{images.shape}".encode())
    files = [(folder / f"{split}.npy").open("wb") for split in SPLITS]
    try:
        for file, rows in zip(files, parts, strict=True):
            _write_header(file, dtype, (len(rows), *images.shape[1:]))
        for start in tqdm(range(0, len(images), CHUNK), "writing images", disable=not sys.stderr.isatty()):
            chunk = np.ascontiguousarray(as_stored(images[start : start + CHUNK], stored))
            digest.update(chunk.data)
            for file, rows in zip(files, parts, strict=True):  # sorted, so each file is written in order
                first, last = np.searchsorted(rows, (start, start + CHUNK))
                file.write(chunk[rows[first:last] - start].data)
    finally:
        for file in files:
            file.close()
    if arrays.labels is not None:
        update_digest(digest, arrays.labels)
        for split, rows in zip(SPLITS, parts, strict=True):
            np.save(folder / f"{split}_labels.npy", arrays.labels[rows])
    about = {"sha256": digest.hexdigest(), "label_names": arrays.label_names, "skipped": asdict(skipped)}
    (folder / "about.json").write_text(json.dumps(about))


def _write_header(file: BinaryIO, dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _publish(ready: Path, folder: Path) -> None:
    """All at once. Another process may have been faster, with the same content."""
    try:
        ready.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _open(name: str, folder: Path) -> tuple[Dataset, Skipped]:
    try:
        about = json.loads((folder / "about.json").read_text())
        train, val, test = (_split(folder, split) for split in SPLITS)
        names, skipped = tuple(about["label_names"]), Skipped(**about["skipped"])
        return Dataset(name, train, val, test, names, about["sha256"], mapped=True), skipped
    except (OSError, ValueError, EOFError, LookupError, TypeError) as exc:  # numpy: EOFError of an empty file
        raise TrainingError(f"{folder}: cannot be read ({exc}); delete it, it will be made anew") from None


def _split(folder: Path, name: str) -> Split:
    images = np.load(folder / f"{name}.npy", mmap_mode="r")
    with warnings.catch_warnings():  # read-only it is to be: no memory need be set aside for changes
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        mapped = torch.from_numpy(images)
    labels = folder / f"{name}_labels.npy"
    return Split(mapped, torch.from_numpy(np.load(labels)) if labels.is_file() else None)
