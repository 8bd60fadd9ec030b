"""Files of the command line: images and arrays read, PNG grids and .npz written.

Pictures, folders and arrays are read as ``vae-train fit`` reads them, by ``serving.pictures``.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.client.results import Model
from serving.pictures.picture_arrays import (
    FORMS,
    MASK_NOTICE,
    ArrayError,
    as_stored,
    channels_first,
    has_array_name,
    read_arrays,
    stored_form,
)
from serving.pictures.picture_files import PictureError, in_channels, look, printable, read
from serving.pictures.picture_folders import FolderError, LeftOut, left_out_line, listing
from serving.wire import images as formats

Rows = NDArray[Any]

PNG_CHANNELS = (1, 3)

log = logging.getLogger(__name__)


class FileError(ValueError):
    """A file that cannot be used; one line, fit to be shown."""


class Given(NamedTuple):
    """Images of the command line."""

    images: Rows
    """[N, C, H, W], uint8 or float32."""
    names: list[str] | None
    """The file of each; None for the rows of an array."""


def read_images(paths: Sequence[Path], model: Model, *, fit: bool) -> Given:
    """From one .npy or .npz file, or as uint8 from image files and folders of them.

    Image files become grey or RGB as the model has it. With ``fit`` those of another size are scaled
    and cropped, as ``vae-train fit --image-size`` does it; without, they are refused. Files of a folder that
    are no images are left out, and a line is logged of them.

    Raises:
        FileError: naming the file.
    """
    if len(paths) == 1 and has_array_name(paths[0]):
        images = channels_first(read_array(paths[0], ("images",)), model.image_shape[0])
        if images.shape[1:] != model.image_shape:
            shape = ", ".join(map(str, model.image_shape))
            came = list(images.shape)
            raise FileError(f"{paths[0]}: want {FORMS} with [C, H, W] as [{shape}], came {came}")
        return Given(_in_form(str(paths[0]), images, model.value_range), None)
    arrays = [path for path in paths if has_array_name(path)]
    if arrays:
        raise FileError(
            f"{arrays[0]}: want one array file alone, or image files and folders; came {len(paths)}"
        )
    if model.image_shape[0] not in PNG_CHANNELS:
        raise FileError(f"images: want .npy or .npz, the model has {model.image_shape[0]} channels")
    found = [picture for path in paths for picture in _pictures(path, model.image_shape, fit=fit)]
    pixels = np.stack([pixels for _, pixels in found])
    return Given(_in_form(str(paths[0]), pixels, (0.0, 1.0)), [printable(file) for file, _ in found])


def _in_form(name: str, images: Rows, value_range: tuple[float, float]) -> Rows:
    try:
        stored = stored_form(images, value_range)
    except ArrayError as exc:
        raise FileError(f"{name}: {exc}") from None
    if stored.is_mask:
        log.warning("%s: %s", name, MASK_NOTICE)
    return as_stored(images, stored)


def _pictures(path: Path, shape: tuple[int, int, int], *, fit: bool) -> Iterator[tuple[Path, Rows]]:
    """A file, or those of a folder, each as [C, H, W]."""
    if not os.path.isdir(path):
        try:
            yield path, _read_picture(path, shape, fit=fit)
        except PictureError as exc:
            raise FileError(str(exc)) from None
        return
    try:
        files, left_out = listing(path)
    except FolderError as exc:
        raise FileError(str(exc)) from None
    total = len(files) + len(left_out)
    for file in files:
        try:
            yield file, _read_picture(file, shape, fit=fit)
        except PictureError as exc:
            left_out.append(LeftOut(file, exc.reason))
    if len(left_out) == total:
        first = f"; {left_out[0].path}: {left_out[0].reason}" if left_out else ""
        raise FileError(f"{path}: want images, found none{first}")
    if left_out:
        log.warning("%s", left_out_line(path, left_out, total))


def _read_picture(file: Path, shape: tuple[int, int, int], *, fit: bool) -> Rows:
    channels, height, width = shape
    came = look(file)
    same = (came.height, came.width) == (height, width)
    if not same and not fit:
        raise FileError(
            f"{file}: want {height}x{width} pixels (height x width), came {came.height}x{came.width}; "
            "--fit scales and crops"
        )
    return in_channels(read(file, None if same else (height, width)), channels)


def read_array(path: Path, names: Sequence[str]) -> Rows:
    """The array of a .npy file, or the first of ``names`` in a .npz file, or the only one there is.

    Raises:
        FileError: not such a file, or no such array in it, or one without rows.
    """
    try:
        file = read_arrays(path, names)
        if not file.arrays and len(file.names) == 1:
            file = read_arrays(path, file.names)
    except ArrayError as exc:
        raise FileError(f"{path}: {exc}") from None
    if not file.arrays:
        came = ", ".join(file.names) or "none"
        raise FileError(f"{path}: want an array {' or '.join(names)}, came {came}")
    array = next(iter(file.arrays.values()))
    if not array.ndim:
        raise FileError(f"{path}: want rows, came a single value")
    return array


def over(above: Rows, below: Rows, columns: int) -> Rows:
    """Rows of a grid in pairs: ``columns`` images of ``above``, then the same of ``below``."""
    gap = -len(above) % columns
    blank = np.full((gap, *above.shape[1:]), 255, np.uint8)
    rows = [np.concatenate([part, blank]).reshape(-1, columns, *above.shape[1:]) for part in (above, below)]
    return np.stack(rows, axis=1).reshape(-1, *above.shape[1:])


def write_grid(path: Path, pixels: NDArray[np.uint8], *, columns: int | None = None) -> None:
    """[N, C, H, W] as one PNG."""
    sheet = formats.grid(pixels, columns=columns)
    if len(sheet) not in PNG_CHANNELS:
        raise FileError(f"{path}: PNG wants 1 or 3 channels, the model has {len(sheet)}; want .npz")
    _write(path, formats.to_png(sheet[None])[0])


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """The arrays that are not None, as .npz."""
    try:
        with path.open("wb") as file:
            np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    except OSError as exc:
        raise FileError(f"{path}: cannot be written: {exc.strerror or exc}") from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise FileError(f"{path}: cannot be written: {exc.strerror or exc}") from None
