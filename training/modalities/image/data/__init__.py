"""Where images come from: named data sets, folders, ``.npz`` and ``.npy`` files."""

import logging
import os
from pathlib import Path

from serving.pictures.picture_arrays import has_array_name
from training.config import FitConfig
from training.data import Dataset
from training.modalities.image.data import arrays, digits, folder, idx
from training.modalities.image.data.withheld import without
from training.training_error import TrainingError

NAMED = {"digits": digits.load, "mnist": idx.load, "fashion-mnist": idx.load}
WANTED = f"{', '.join(NAMED)}, a folder of images, an .npz or .npy file"
PACKED = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})

log = logging.getLogger(__name__)


def load(config: FitConfig, *, labelled: bool = True) -> Dataset:
    """The data set that the config names; without ``labelled`` the sub-folders of a folder are no labels.

    Raises:
        TrainingError: naming what is missing or does not fit.
    """
    found = _found(config, labelled)
    return without(found, config.without) if config.without else found


def _found(config: FitConfig, labelled: bool) -> Dataset:
    path = Path(config.data)
    if config.strict and (config.data in NAMED or os.path.isfile(path)):
        raise TrainingError(f"--strict: only for a folder of images, came --data {config.data}")
    if config.data in NAMED:
        if os.path.exists(path):
            log.warning(
                "--data %s: the data set of this name, not the %s in this folder; that one is --data ./%s",
                path, "folder" if path.is_dir() else "file", path,
            )  # fmt: skip
        return NAMED[config.data](config)
    if os.path.isdir(path):
        return folder.load(config, labelled=labelled)
    if not os.path.isfile(path):
        came = "came no regular file" if os.path.exists(path) else "not found"
        raise TrainingError(f"--data {path}: want {WANTED}; {came}")
    if not has_array_name(path):
        unpacked = ", and this one unpacked" if path.suffix.lower() in PACKED else ""
        raise TrainingError(f"--data {path}: want {WANTED}{unpacked}; came a file {path.suffix}".rstrip())
    if config.image_size or config.channels != "auto":
        raise TrainingError(f"--image-size and --channels: only for a folder of images, came --data {path}")
    return arrays.load(config)
