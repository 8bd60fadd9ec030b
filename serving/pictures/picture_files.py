"""One picture file read into pixels.

Any format that Pillow decodes itself, whatever the file's ending; turned as its EXIF orientation says. The
modes are those of ``picture_modes``. H is the height, W the width as the picture is shown.
"""

import functools
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from serving.pictures.picture_modes import ModeError, is_grey, plain

Pixels = NDArray[np.uint8]

NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow knows but hands to other programs; a file must not choose which program runs."""
FIRST_IS_THE_PICTURE = frozenset({"MPO", "PSD"})
"""Formats whose further frames are views or layers of the first: a phone's photo, a drawing."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation; from 5 on, height and width change places."""
GREY_STEPS = {"L;2": 85, "L;4": 17}
"""From one grey value to the next, where Pillow spreads the 2 or 4 bits of a PNG file over 0..255."""
LONGEST_REASON = 160
BREAKING = frozenset({"Cc", "Zl", "Zp"})
"""Categories of letters that would end a line, or tell a terminal what to do."""


class PictureError(ValueError):
    """A file that cannot be used; one line, fit to be shown."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{printable(file)}: cannot be read as an image: {reason}")
        self.file = file
        self.reason = reason


def printable(path: Path) -> str:
    """In one line: what is not UTF-8, or a control character, as an escape."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in BREAKING else letter
        for letter in text
    )


class Look(NamedTuple):
    """What a picture is like."""

    height: int
    width: int
    is_grey: bool


def look(file: Path) -> Look:
    """By the header alone, but for palettes and where the pixels say how they are turned.

    Raises:
        PictureError: as ``read``; damaged pixels are found by ``read`` alone.
    """
    with _opened(file) as image:
        grey = is_grey(image)
        if image.height == image.width:
            return Look(image.height, image.width, grey)
        # A PNG file may have its EXIF after the pixels, and Pillow turns a TIFF file by itself as it loads.
        if image.format == "PNG" or (image.format == "TIFF" and _orientation(image) > 1):
            image.load()
        width, height = image.size
        return Look(width, height, grey) if _orientation(image) >= 5 else Look(height, width, grey)


def read(file: Path, size: tuple[int, int] | None = None) -> Pixels:
    """[H, W] of a grey picture, [H, W, 3] of any other.

    Args:
        size: height and width to scale and centre-crop it to.

    Raises:
        PictureError: no picture, a damaged one, several in one file, or pixels without one meaning.
    """
    with _opened(file) as image:
        image.load()
        picture = plain(image)
        turn = TURNS.get(_orientation(image))
        if turn is not None:
            picture = picture.transpose(turn)
        if size:
            picture = ImageOps.fit(picture, (size[1], size[0]), Image.Resampling.LANCZOS)
        return np.asarray(picture)


def in_channels(pixels: Pixels, channels: int) -> Pixels:
    """[1, H, W] or [3, H, W] of what ``read`` gave; colour becomes grey by its luma (ITU-R 601-2)."""
    if channels == 1:
        grey = pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
        return grey[None]
    if pixels.ndim == 2:
        return np.broadcast_to(pixels, (3, *pixels.shape))
    return pixels.transpose(2, 0, 1)


def has_picture_name(file: Path) -> bool:
    """Whether the ending promises a picture, also of a kind that Pillow cannot read."""
    return file.suffix.lower() in _endings()


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """The file with its header read; whatever Pillow raises until it is closed becomes a PictureError."""
    try:
        # By its name, Pillow would map an uncompressed TIFF file with height and width exchanged where its
        # orientation turns it, and give garbled pixels (seen in 13.0).
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe may never answer
            raise PictureError(file, "no regular file")
        with file.open("rb") as opened, Image.open(opened, formats=_formats()) as image:
            if image.format == "PNG":
                _scale_transparency(image)
            if image.format not in FIRST_IS_THE_PICTURE and getattr(image, "is_animated", False):
                count = getattr(image, "n_frames", "several")
                raise PictureError(file, f"want one picture a file, came {count} frames or pages")
            yield image
    except PictureError:
        raise
    except Exception as exc:  # a broken file may raise anything: SyntaxError, struct.error, IndexError …
        raise PictureError(file, _reason(exc)) from None


def _scale_transparency(image: ImageFile.ImageFile) -> None:
    """A PNG file names its transparent colour in its own bits; Pillow makes 8 of them in the pixels alone."""
    declared = image.info.get("transparency")
    layout = str(image.tile[0][3]) if image.tile else ""
    if isinstance(declared, int) and layout in GREY_STEPS:
        image.info["transparency"] = declared * GREY_STEPS[layout]
    elif isinstance(declared, tuple) and layout == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in declared)


def _orientation(image: Image.Image) -> int:
    """1 to 8; EXIF that cannot be read says nothing of it, and any other number is 1."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def _reason(exc: Exception) -> str:
    """In one line that does not repeat the name of the file."""
    if isinstance(exc, UnidentifiedImageError):
        return "no format that is known"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    text = " ".join(str(exc).split())[:LONGEST_REASON]
    return text if text and isinstance(exc, OSError | ModeError) else f"{type(exc).__name__} {text}".rstrip()


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_DECODED)


@functools.cache
def _endings() -> frozenset[str]:
    return frozenset(Image.registered_extensions()) | {".heic", ".heif", ".jxl", ".svg"}
