"""Image formats, the same on both sides of the wire: float32 in the model's range, uint8, PNG.

B is the number of images, C channels, H height and W width. Needs numpy and Pillow only, because the
client uses it too.
"""

import io
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">IIBBBBB")
"""Width, height, bit depth, colour type, compression, filter, interlace (PNG specification, 11.2.1)."""
_COLOUR_TYPES = {1: 0, 3: 2}
"""PNG colour type by number of channels: grey and RGB."""
_MODES = {1: "L", 3: "RGB"}
"""Pillow's names for them."""
_UP = 2
"""The row filter that keeps the difference to the row above."""


class BadPng(ValueError):
    """A file that is not the PNG that was wanted."""

    def __init__(self, index: int, description: str) -> None:
        super().__init__(f"image {index}: {description}")
        self.index = index
        self.description = description


def to_uint8(images: Floats, value_range: tuple[float, float]) -> Pixels:
    """Map ``value_range`` linearly onto 0 to 255, any shape; halves go to even, values beyond to the end."""
    low, high = value_range
    scaled: Floats = (np.asarray(images, np.float32) - low) * (255.0 / (high - low))
    return scaled.round().clip(0, 255).astype(np.uint8)


def to_float32(pixels: Pixels, value_range: tuple[float, float]) -> Floats:
    """Map 0 to 255 linearly onto ``value_range``, of any shape; both ends are exact."""
    low, high = value_range
    return np.linspace(low, high, 256, dtype=np.float64).astype(np.float32)[pixels]


def to_png(pixels: Pixels) -> list[bytes]:
    """[B, C, H, W] as B PNG files, grey for one channel and RGB for three.

    Written here and not by Pillow because small images are in every response: 2 to 3 times as fast.

    Raises:
        ValueError: neither one nor three channels.
    """
    count, channels, height, width = pixels.shape
    if channels not in _COLOUR_TYPES:
        raise ValueError(f"PNG: want 1 or 3 channels, came {channels}")
    header = _chunk(b"IHDR", _IHDR.pack(width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0))
    end = _chunk(b"IEND", b"")
    rows = pixels.transpose(0, 2, 3, 1).reshape(count, height, width * channels)
    filtered = np.empty((count, height, 1 + width * channels), np.uint8)
    filtered[:, :, 0] = _UP
    filtered[:, :, 1:] = rows
    filtered[:, 1:, 1:] -= rows[:, :-1]  # modulo 256, as the filter is defined
    return [
        b"".join((_SIGNATURE, header, _chunk(b"IDAT", zlib.compress(image, level=1)), end))
        for image in filtered
    ]


def _chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", crc)))


def from_png(files: Sequence[bytes], shape: tuple[int, int, int], first: int = 0) -> Pixels:
    """PNG files as [B, C, H, W]; every one must have ``shape`` (C, H, W) with 8 bits a channel.

    ``first`` is the number that errors give to the first of them.

    Nothing is resized or converted. The header is looked at first, so a small file that claims a huge
    image is refused before any memory is taken for it.

    Raises:
        BadPng: naming the index, what was wanted and what came.
    """
    channels, height, width = shape
    if channels not in _COLOUR_TYPES:
        raise ValueError(f"PNG: want a model of 1 or 3 channels, this one has {channels}")
    pixels = np.empty((len(files), height, width, channels), np.uint8)
    for row, file in enumerate(files):
        index = first + row
        _check_header(index, file, shape)
        try:
            with Image.open(io.BytesIO(file), formats=["PNG"]) as image:
                if image.size != (width, height) or image.mode != _MODES[channels]:
                    raise ValueError("a second header says otherwise")
                pixels[row] = np.asarray(image).reshape(height, width, channels)
        except Exception as exc:  # Pillow raises half a dozen kinds for a broken file
            raise BadPng(index, "cannot be decoded; want a whole PNG file") from exc
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def png_shape(file: bytes) -> tuple[int, int, int]:
    """(C, H, W) of an 8-bit grey or RGB PNG file by its header. Raises BadPng for any other."""
    width, height, depth, colour = _header(0, file)
    for channels, colour_type in _COLOUR_TYPES.items():
        if (depth, colour) == (8, colour_type):
            return channels, height, width
    raise BadPng(0, f"want 8-bit grey or RGB, came {depth}-bit {_colour_name(colour)}")


def _check_header(index: int, file: bytes, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    came_width, came_height, depth, colour = _header(index, file)
    if (came_height, came_width) != (height, width):
        raise BadPng(index, f"want height x width {height} x {width}, came {came_height} x {came_width}")
    if (depth, colour) != (8, _COLOUR_TYPES[channels]):
        wanted = "grey" if channels == 1 else "RGB"
        raise BadPng(index, f"want 8-bit {wanted}, came {depth}-bit {_colour_name(colour)}")


def _header(index: int, file: bytes) -> tuple[int, int, int, int]:
    """Width, height, bit depth and colour type."""
    begin = len(_SIGNATURE) + 8  # after the length and the name of the first chunk
    if (
        not file.startswith(_SIGNATURE)
        or file[begin - 4 : begin] != b"IHDR"
        or len(file) < begin + _IHDR.size
    ):
        raise BadPng(index, f"want a PNG file, came {len(file)} bytes that are none")
    width, height, depth, colour, *_ = _IHDR.unpack_from(file, begin)
    return width, height, depth, colour


def _colour_name(colour_type: int) -> str:
    names = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
    return names.get(colour_type, f"colour type {colour_type}")


def grid(pixels: Pixels, *, columns: int | None = None, padding: int = 2, background: int = 255) -> Pixels:
    """[B, C, H, W] as one image [C, H', W'], row by row; about as many columns as rows unless given.

    Raises:
        ValueError: no images, or ``columns`` below 1.
    """
    count, channels, height, width = pixels.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if count < 1 or columns < 1:
        raise ValueError(f"grid: want at least one image and one column, came {count} and {columns}")
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    cells = np.full((rows * columns, channels, height + padding, width + padding), background, np.uint8)
    cells[:count, :, padding:, padding:] = pixels
    cells = cells.reshape(rows, columns, *cells.shape[1:])
    sheet = cells.transpose(2, 0, 3, 1, 4).reshape(
        channels, rows * (height + padding), columns * (width + padding)
    )
    return np.pad(sheet, ((0, 0), (0, padding), (0, padding)), constant_values=background)
