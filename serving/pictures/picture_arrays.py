"""Pictures in arrays: ``.npy`` and ``.npz`` files, and what their axes and values mean.

N is the number of pictures, C channels, H height and W width. Whole numbers are 0 to 255, floating-point
numbers lie in a range, [0, 1] unless the model has another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from serving.pictures.picture_modes import TOLERANCE

Array = NDArray[Any]

ENDINGS = frozenset({".npy", ".npz"})
ZIP = b"PK"
COLOUR_AXIS = (1, 3, 4)
"""Lengths by which a last axis is taken for colour (grey, RGB, RGBA)."""
FORMS = "[N, H, W], [N, H, W, C] or [N, C, H, W]"
CHUNK = 4096
"""Pictures looked at in one go: there may be more of them than fit in memory."""

MASK_NOTICE = "the pixels are 0 and 1 alone, taken for black and white"


class ArrayError(ValueError):
    """An array that holds no pictures; one line without the name of the file."""


class ArrayFile(NamedTuple):
    """What was read of an array file."""

    names: tuple[str, ...]
    """Of all its arrays."""
    arrays: dict[str, Array]


class Stored(NamedTuple):
    """The form in which pictures are kept: uint8 in 0..255, or float32 in a range."""

    dtype: "np.dtype[Any]"
    factor: int = 1
    """255 for booleans and for masks, whose white is 1."""
    beyond: tuple[float, float] | None = None
    """The range to clip to, if some values lie beyond it by rounding."""
    is_mask: bool = False
    """Whole numbers, of which none is above 1."""


def has_array_name(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def read_arrays(path: Path, names: Sequence[str]) -> ArrayFile:
    """Those of ``names`` that are there; of an ``.npy`` file its one array as "", mapped and not read yet.

    Raises:
        ArrayError: not a whole file of this kind; pickles are never opened.
    """
    try:
        with path.open("rb") as opened:  # numpy leaves a damaged .npz open if it opens it itself
            begin = opened.read(len(MAGIC_PREFIX))
            if begin == MAGIC_PREFIX:
                return ArrayFile(("",), {"": np.load(path, mmap_mode="r", allow_pickle=False)})
            if not begin.startswith(ZIP):
                raise ArrayError("cannot be read as .npy or .npz: it is neither")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as content:
                found = {name: content[name] for name in names if name in content.files}
                for name, array in found.items():
                    if not isinstance(array, np.ndarray):  # numpy gives the bytes of what is no .npy
                        raise ArrayError(f"want arrays, came {name!r}, a file of another kind")
                return ArrayFile(tuple(content.files), found)
    except ArrayError:
        raise
    except OSError as exc:
        raise ArrayError(f"cannot be read: {exc.strerror or exc}") from None
    except Exception as exc:  # zipfile, zlib and numpy raise half a dozen kinds for a broken file
        is_pickled = "pickle" in str(exc) or "Python objects" in str(exc)
        text = "it holds Python objects" if is_pickled else " ".join(str(exc).split())
        raise ArrayError(f"cannot be read as .npy or .npz: {text or type(exc).__name__}") from None


def channels_first(images: Array, channels: int | None = None) -> Array:
    """``FORMS`` as [N, C, H, W]; without ``channels`` to go by, channels come first where in doubt."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4:
        return images
    first, last = images.shape[1], images.shape[3]
    if channels is None:
        is_last = last in COLOUR_AXIS and first not in COLOUR_AXIS
    else:
        is_last = last == channels != first
    return images.transpose(0, 3, 1, 2) if is_last else images


def stored_form(images: Array, value_range: tuple[float, float] = (0.0, 1.0)) -> Stored:
    """uint8 for whole numbers and booleans, float32 for fractions.

    Raises:
        ArrayError: no values at all, or some that are neither whole numbers in 0..255 nor lie in the range.
    """
    if not images.size:
        raise ArrayError(f"want images with pixels in them, came {list(images.shape)}")
    if images.dtype == bool:
        return Stored(np.dtype(np.uint8), factor=255)
    if images.dtype == np.uint8:
        return _bytes(images)
    if images.dtype.kind not in "iuf":
        raise ArrayError(f"want numbers for images, came {images.dtype}")
    low, high = float(images.min()), float(images.max())
    if images.dtype.kind in "iu":
        least, most, slack = 0.0, 255.0, 0.0
    else:
        (least, most), slack = value_range, TOLERANCE * (value_range[1] - value_range[0])
    if not (low >= least - slack and high <= most + slack):  # written so that NaN is refused
        want = f"whole numbers in 0..255 or fractions in [{value_range[0]:g}, {value_range[1]:g}]"
        raise ArrayError(f"want {want}, came {images.dtype} from {low:g} to {high:g}")
    if images.dtype.kind in "iu":
        return _bytes(images)
    return Stored(np.dtype(np.float32), beyond=(least, most) if low < least or high > most else None)


def as_stored(images: Array, stored: Stored) -> Array:
    """Some of the images in the form that ``stored_form`` gives all of them."""
    kept: Array = images.astype(stored.dtype, copy=False)
    if stored.factor != 1:
        return np.multiply(kept, stored.factor, dtype=stored.dtype)
    return kept if stored.beyond is None else np.clip(kept, *stored.beyond)


def _bytes(images: Array) -> Stored:
    """A mask that is written as 0 and 1 would be all but black as 0..255; it means 0 and 255."""
    brightest = 0
    for start in range(0, len(images), CHUNK):
        brightest = max(brightest, int(images[start : start + CHUNK].max()))
        if brightest > 1:
            return Stored(np.dtype(np.uint8))
    is_mask = brightest == 1
    return Stored(np.dtype(np.uint8), factor=255 if is_mask else 1, is_mask=is_mask)
