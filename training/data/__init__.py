"""Data sets as tensors: named ones, folders of images, ``.npz`` and ``.npy`` files."""

from pathlib import Path

from training.config import FitConfig
from training.data import arrays, digits, folder, idx
from training.data.dataset import Dataset, Split, to_unit
from training.data.withheld import without
from training.training_error import TrainingError

__all__ = ["Dataset", "Split", "load", "to_unit"]

NAMED = {"digits": digits.load, "mnist": idx.load, "fashion-mnist": idx.load}


def load(config: FitConfig) -> Dataset:
    """The data set that the config names.

    Raises:
        TrainingError: naming what is missing or does not fit.
    """
    found = _found(config)
    return without(found, config.without) if config.without else found


def _found(config: FitConfig) -> Dataset:
    path = Path(config.data)
    if config.strict and (config.data in NAMED or path.is_file()):
        raise TrainingError(f"--strict: only for a folder of images, came --data {config.data}")
    if config.data in NAMED:
        return NAMED[config.data](config)
    if path.is_dir():
        return folder.load(config)
    if path.suffix in (".npz", ".npy") and path.is_file():
        if config.image_size or config.channels != "auto":
            raise TrainingError(
                f"--image-size and --channels: only for a folder of images, came --data {path}"
            )
        return arrays.load(config)
    raise TrainingError(
        f"--data {path}: want {', '.join(NAMED)}, a folder of images, an .npz or .npy file; not found"
    )
