"""What the pixels of every Pillow mode become: 8-bit grey ("L") or colour ("RGB").

docs/training.md has this as a table. What has no one meaning is refused, never guessed at.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BACKGROUND = 255
"""What shows through transparent pixels: white, as on a page."""
TOLERANCE = 1e-3
"""How far floating-point pixels may lie beyond their range, in ranges: rounding of whoever wrote them. The
server allows the same."""

GREY = frozenset({"1", "L", "LA", "La", "I", "F"})
PALETTES = frozenset({"P", "PA"})
COLOUR = frozenset({"RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})
DEEP = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats that say themselves that mode "I" is 16 bits a pixel, from 0 to 65535."""
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
SIGNED = 2
"""Numbers of TIFF 6.0, sections 8 and 19."""


class ModeError(ValueError):
    """Pixels without a meaning as a picture; one line that says what was wanted and what came."""


def is_grey(image: Image.Image) -> bool:
    """Whether ``plain`` gives grey; a palette's pixels are looked at, other modes need the header alone."""
    if image.mode in PALETTES:
        return plain(image).mode == "L"
    return image.mode in GREY or image.mode.startswith("I;16")


def plain(image: Image.Image) -> Image.Image:
    """The picture in mode "L" or "RGB".

    Raises:
        ModeError: a mode, or values, that could mean several pictures.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _from_deep(image, np.asarray(image), _bits(image))
    if mode == "I":
        return _from_deep(image, _whole_numbers(image), 16)
    if mode == "F":
        return _from_fractions(image)
    if mode in PALETTES:
        return _grey_if_all_is(_opaque(image, "RGB"))
    if mode in GREY:
        return _opaque(image, "L")
    if mode in COLOUR:
        return _opaque(image, "RGB")
    raise ModeError(f"want grey, RGB, palette or CMYK pixels, came mode {mode}")


def _opaque(image: Image.Image, mode: str) -> Image.Image:
    """In ``mode``; what is transparent is laid on the background."""
    if image.mode in ("La", "RGBa"):  # multiplied by its alpha; Pillow converts that to nothing else
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not image.has_transparency_data:
        return image.convert(mode)
    layered = image.convert("LA" if mode == "L" else "RGBA")
    page = Image.new(mode, image.size, BACKGROUND if mode == "L" else (BACKGROUND,) * 3)
    page.paste(layered.convert(mode), mask=layered.getchannel("A"))
    return page


def _grey_if_all_is(picture: Image.Image) -> Image.Image:
    """A palette is a list of colours, also where all that are used are grey."""
    pixels = np.asarray(picture)
    return picture.getchannel(0) if (pixels == pixels[..., :1]).all() else picture


def _bits(image: Image.Image) -> int:
    """Of a pixel of mode "I;16": 16, or the 12 that a TIFF file may have."""
    return _tag(image, BITS_PER_SAMPLE) or 16


def _tag(image: Image.Image, number: int) -> int:
    """The value of a TIFF tag, 0 where there is none."""
    value = getattr(image, "tag_v2", {}).get(number) or 0
    return int(value[0] if isinstance(value, tuple) else value)


def _whole_numbers(image: Image.Image) -> NDArray[np.int32]:
    """Mode "I" [H, W], if it is 16 bits a pixel, from 0 to 65535."""
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    signed_short = _tag(image, BITS_PER_SAMPLE) == 16 and _tag(image, SAMPLE_FORMAT) == SIGNED
    if signed_short or low < 0 or high > 0xFFFF:
        kind = "signed whole numbers" if signed_short else "whole numbers"
        raise ModeError(f"want pixels in 0..255 or 0..65535, came {kind} from {low} to {high}")
    if 0 < high <= 0xFF and image.format not in DEEP:
        raise ModeError(f"want 8 or 16 bits a pixel, came 32 with none above {high}: is white 255 or 65535?")
    return values


def _from_deep(image: Image.Image, values: NDArray[np.integer], bits: int) -> Image.Image:
    """The upper 8 bits, as Pillow takes them of 16-bit colour."""
    pixels = (values >> (bits - 8)).astype(np.uint8)
    if "transparency" in image.info:  # the one grey value that a PNG file declares transparent
        pixels[values == image.info["transparency"]] = BACKGROUND
    return Image.fromarray(pixels)


def _from_fractions(image: Image.Image) -> Image.Image:
    """0 is black, 1 is white."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # written so that NaN is refused
        raise ModeError(f"want floating-point pixels in 0..1, came {low:g} to {high:g}")
    return Image.fromarray(np.rint(values.clip(0, 1) * 255).astype(np.uint8))
