"""A few labelled examples: ``labels.csv`` and the images it speaks of."""

import csv
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from serving.pictures.picture_arrays import as_stored, stored_form
from serving.pictures.picture_files import PictureError, Pixels, in_channels, look, read
from training.config import FitConfig
from training.data import Dataset, to_unit
from training.data.label_names import composed, wrong_label
from training.modalities.image.data.splits import split_rows
from training.pools.naming import refuse_reserved
from training.training_error import TrainingError

HEADERS = {"file", "row", "file-or-row", "image"}
ROW = re.compile(r"-?\d{1,18}")


class Example(NamedTuple):
    """A line of ``labels.csv``."""

    line: int
    image: str
    """A file, or the row of an image in the data."""
    label: str


def read_examples(path: Path) -> list[Example]:
    """Lines of "file-or-row,label", with or without a header.

    Raises:
        TrainingError: the file is missing or not CSV, a line has no two fields, all labels are one, or one
            of them is no name for a pool.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    except OSError as exc:
        raise TrainingError(f"--names {path}: cannot be read: {exc.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as exc:
        raise TrainingError(f"--names {path}: not a CSV file: {exc}") from None
    if rows and rows[0][1][0].strip().lower() in HEADERS:
        del rows[0]
    examples = []
    for number, row in rows:
        fields = [field.strip() for field in row]
        if len(fields) != 2 or not all(fields):
            raise TrainingError(
                f"--names {path}: line {number}: want file-or-row,label, came {','.join(row)!r}"
            )
        label = composed(fields[1])
        fault = wrong_label([label])
        if fault:
            raise TrainingError(f"--names {path}: line {number}: {fault}")
        examples.append(Example(number, fields[0], label))
    labels = sorted({example.label for example in examples})
    if len(labels) < 2:
        came = f"one, {labels[0]!r}" if labels else "none"
        raise TrainingError(f"--names {path}: want examples of at least two labels, came {came}")
    refuse_reserved(labels)
    return examples


def images_of(examples: list[Example], path: Path, dataset: Dataset, config: FitConfig) -> Tensor:
    """The images [n, C, H, W] in [0, 1].

    A number is a row of the data as they lie in their file (for MNIST the training file), so it is in one of
    the splits. Anything else is an image file, looked for beside the CSV file and in the data folder.

    Raises:
        TrainingError: naming the line of the CSV file: no such row, no such file, or another size.
    """
    rows: dict[int, Tensor] = {}
    files: dict[int, Pixels] = {}
    for index, example in enumerate(examples):
        try:
            if ROW.fullmatch(example.image):
                rows[index] = _row(int(example.image), dataset, config)
            else:
                files[index] = _file(example.image, [path.parent, Path(config.data)], dataset, config)
        except TrainingError as exc:
            raise TrainingError(f"--names {path}: line {example.line}: {exc}") from None
    images = rows | dict(zip(files, _in_unit(list(files.values())), strict=True))
    return torch.stack([images[index] for index in range(len(examples))])


def _in_unit(pictures: list[Pixels]) -> list[Tensor]:
    """[C, H, W] each, in [0, 1]: masks become what they become in a data set."""
    if not pictures:
        return []
    pixels = np.stack(pictures)
    return list(to_unit(torch.from_numpy(as_stored(pixels, stored_form(pixels)))))


def _row(row: int, dataset: Dataset, config: FitConfig) -> Tensor:
    if config.without:
        raise TrainingError(f"row {row}: want an image file, for a run with --without has other rows")
    # MNIST and Fashion-MNIST have their own test file; other data are cut by a shuffle.
    if config.data in ("mnist", "fashion-mnist"):
        parts = [np.arange(len(dataset.train)), len(dataset.train) + np.arange(len(dataset.val))]
    else:
        count = len(dataset.train) + len(dataset.val) + len(dataset.test)
        parts = split_rows(dataset.name, count, config)
    for split, rows in zip((dataset.train, dataset.val, dataset.test), parts, strict=False):
        at = np.flatnonzero(rows == row)
        if len(at):
            return to_unit(split.images[int(at[0])])
    raise TrainingError(f"row {row}: want 0 to {sum(map(len, parts)) - 1}")


def _file(name: str, folders: list[Path], dataset: Dataset, config: FitConfig) -> Pixels:
    """[C, H, W], read as the images of a folder are."""
    candidates = [Path(name), *(folder / name for folder in folders)]
    path = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
    if path is None:
        raise TrainingError(f"image {name!r}: want a row or an image file, found none of this name")
    channels, height, width = dataset.image_shape
    if channels not in (1, 3):
        raise TrainingError(f"image {path}: want a row, the images of this data have {channels} channels")
    try:
        came = look(path)
        if not config.image_size and (came.height, came.width) != (height, width):
            raise TrainingError(f"image {path}: want {height}x{width}, came {came.height}x{came.width}")
        return in_channels(read(path, config.image_size), channels)
    except PictureError as exc:
        raise TrainingError(f"image {exc}") from None
