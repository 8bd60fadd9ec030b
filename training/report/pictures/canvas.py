"""Grids of images, and an image as a tile of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from training.charts import DPI, figure, png, saved, short, styled

TILE_PX = 52
"""An image of the grid is enlarged, by whole factors, to about this size."""
SMALL_PX = 16
"""Images smaller than this are enlarged smoothly."""
SMOOTH_LEVELS = 31
"""Steps from black to white in such a one: smooth to the eye, and half the size of a file with all 255."""
MAX_TILE_PX = 112
"""A larger one is made smaller."""
GAP_PX = 4
BREAK_PX = 3 * GAP_PX
"""What a wider gap, between rows or columns, is wider."""
Pixels = NDArray[np.uint8]


def image_grid(
    rows: Sequence[Tensor],
    names: Sequence[str],
    *,
    title: str,
    subtitle: str,
    rules: Sequence[int] = (),
    column_rules: Sequence[int] = (),
) -> bytes:
    """PNG: rows of images, each row with its name at the left.

    Args:
        rows: [n, C, H, W] in [0, 1] each.
        rules: rows before which there is a wider gap.
        column_rules: columns before which there is one.
    """
    strips = [strip(row, column_rules) for row in rows]
    height = strips[0].shape[0]
    with styled():
        names = [short(name) for name in names]
        label_px = 30 + round(8.5 * max(map(len, names)))
        tops = [i * (height + GAP_PX) + BREAK_PX * sum(rule <= i for rule in rules) for i in range(len(rows))]
        canvas = np.full((tops[-1] + height, max(row.shape[1] for row in strips), 3), 255, np.uint8)
        for top, row in zip(tops, strips, strict=True):
            part = canvas[top : top + height, : row.shape[1]]
            np.copyto(part, row[:, :, :3], where=row[:, :, 3:] > 0)
        full_width = max(canvas.shape[1] + label_px + 16, 8 * len(subtitle) * 0.75 + 32, 10 * len(title) + 32)
        full_height = canvas.shape[0] + 68 + 16
        made = figure(full_width / DPI, full_height / DPI, title, subtitle)
        # One array element is one pixel of the file, so nothing is resampled.
        made.figimage(canvas, xo=label_px, yo=16, origin="upper")
        for top, name in zip(tops, names, strict=True):
            y = 16 + canvas.shape[0] - top - height / 2
            made.text((label_px - 10) / full_width, y / full_height, name, ha="right", va="center", size=10)
    return png(made)


def strip(row: Tensor, column_rules: Sequence[int] = ()) -> Pixels:
    """Images [n, C, H, W] in [0, 1], enlarged, side by side: RGBA [h, w, 4], the gaps transparent."""
    tiles = [tile(image) for image in row]
    height, width = tiles[0].shape[:2]
    lefts = [
        j * (width + GAP_PX) + BREAK_PX * sum(rule <= j for rule in column_rules) for j in range(len(tiles))
    ]
    canvas = np.zeros((height, lefts[-1] + width, 4), np.uint8)
    for left, pixels in zip(lefts, tiles, strict=True):
        canvas[:, left : left + width, :3] = pixels
        canvas[:, left : left + width, 3] = 255
    return canvas


def strip_png(pixels: Pixels) -> bytes:
    """The file of a ``strip``, grey where the images are."""
    picture = Image.fromarray(pixels)
    is_grey = (pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 1] == pixels[:, :, 2]).all()
    return saved(picture.convert("LA") if is_grey else picture)


def columns_for(image_shape: tuple[int, int, int], *, width_px: int = 740) -> int:
    """How many images of this shape stand side by side."""
    width = round(image_shape[2] * _factor(image_shape[1:]))
    return min(12, max(3, width_px // (width + GAP_PX)))


def tile(image: Tensor, wanted_px: int = TILE_PX) -> Pixels:
    """[C, H, W] as RGB [h, w, 3] of about ``wanted_px``; of other than 1 or 3 channels, the first in grey.

    Pixels become squares, but for the smallest images, in which the eye would see nothing else.
    """
    factor = _factor(image.shape[1:], wanted_px)
    is_small = max(image.shape[1:]) < SMALL_PX
    size = [max(1, round(side * factor)) for side in image.shape[1:]]
    mode = "area" if factor < 1 else "bicubic" if is_small else "nearest"
    pixels = F.interpolate(image[None], size=size, mode=mode)[0].clamp(0, 1)
    coloured = pixels if len(pixels) == 3 else pixels[:1].expand(3, -1, -1)
    levels = SMOOTH_LEVELS if is_small else 255
    steps = (coloured.permute(1, 2, 0) * levels).round() * (255 / levels)
    return np.ascontiguousarray(steps.round().byte().numpy())


def _factor(size: Sequence[int], wanted_px: int = TILE_PX) -> float:
    """A whole one from 1 on; less than 1 where the image is too large to be shown as it is."""
    longest = max(size)
    return MAX_TILE_PX / longest if longest > MAX_TILE_PX else max(1, round(wanted_px / longest))
