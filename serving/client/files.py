"""Files of the command line: images and arrays read, PNG grids and .npz written."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from serving.client.results import Model
from serving.wire import images as formats

Rows = NDArray[Any]

ARRAYS = frozenset({".npy", ".npz"})
PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MODES = {1: "L", 3: "RGB"}


class FileError(ValueError):
    """A file that cannot be used; one line, fit to be shown."""


def read_images(paths: Sequence[Path], model: Model, *, fit: bool) -> Rows:
    """[N, C, H, W] from one .npy or .npz file, or as uint8 from image files and folders of them.

    Image files become grey or RGB as the model has it. With ``fit`` those of another size are scaled
    and cropped, as ``vae-train fit --image-size`` does it; without, they are refused.
    """
    if len(paths) == 1 and paths[0].suffix.lower() in ARRAYS:
        return read_array(paths[0], ("images",))
    if model.image_shape[0] not in MODES:
        raise FileError(f"images: want .npy or .npz, the model has {model.image_shape[0]} channels")
    return np.stack([_read_picture(file, model.image_shape, fit=fit) for file in _pictures(paths)])


def _pictures(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = [f for f in path.rglob("*") if f.suffix.lower() in PICTURES] if path.is_dir() else [path]
        if not inside:
            raise FileError(f"{path}: want images ({' '.join(sorted(PICTURES))}), found none")
        found.extend(sorted(inside))
    return found


def _read_picture(file: Path, shape: tuple[int, int, int], *, fit: bool) -> Rows:
    channels, height, width = shape
    try:
        with Image.open(file) as image:
            size = image.size
            if size != (width, height) and not fit:
                raise FileError(
                    f"{file}: want {height}x{width} pixels (height x width), came {size[1]}x{size[0]}; "
                    "--fit scales and crops"
                )
            picture = image.convert(MODES[channels])
    except FileError:
        raise
    except Exception as exc:  # Pillow raises half a dozen kinds for a broken file
        raise FileError(f"{file}: cannot be read as an image: {exc}") from None
    if size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(height, width, channels).transpose(2, 0, 1)


def read_array(path: Path, names: Sequence[str]) -> Rows:
    """The array of a .npy file, or the first of ``names`` in a .npz file, or the only one there is."""
    try:
        content = np.load(path)
        if isinstance(content, np.ndarray):
            return content
        with content:
            name = next((name for name in names if name in content), None)
            if name is None and len(content.files) != 1:
                wanted = " or ".join(names)
                raise FileError(f"{path}: want an array {wanted}, came {', '.join(content.files) or 'none'}")
            array: Rows = content[name or content.files[0]]
            return array
    except FileError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as exc:
        raise FileError(f"{path}: cannot be read as .npy or .npz: {exc}") from None


def write_grid(path: Path, pixels: NDArray[np.uint8], *, columns: int | None = None) -> None:
    """[N, C, H, W] as one PNG."""
    sheet = formats.grid(pixels, columns=columns)
    if len(sheet) not in MODES:
        raise FileError(f"{path}: PNG wants 1 or 3 channels, the model has {len(sheet)}; want .npz")
    _write(path, formats.to_png(sheet[None])[0])


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """The arrays that are not None, as .npz."""
    try:
        with path.open("wb") as file:
            np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    except OSError as exc:
        raise FileError(f"{path}: cannot be written: {exc.strerror}") from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise FileError(f"{path}: cannot be written: {exc.strerror}") from None
