"""The common ground of all pictures: one look, and grids of images with every pixel visible."""

import io
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

DPI = 100
TILE_PX = 52
"""An image of the grid is enlarged, by whole factors, to about this size."""
GAP_PX = 4
LONGEST_NAME = 20
INK = "#1c2833"
FAINT = "#7b8794"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c5ccd3",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceff2",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
}

Pixels = NDArray[np.float32]


def styled() -> AbstractContextManager[None]:
    """The common look, within."""
    return rc_context(STYLE)


def png(figure: Figure) -> bytes:
    """The file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), styled():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # labels in any script
        figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def figure(width: float, height: float, title: str, subtitle: str = "") -> Figure:
    """An empty figure, in inches, with its heading."""
    made = Figure(figsize=(width, height), dpi=DPI)
    heading(made, title, subtitle)
    return made


def heading(made: Figure, title: str, subtitle: str) -> None:
    """Title and a fainter line below it, at the top left."""
    _, height = made.get_size_inches() * DPI
    made.text(16 / (made.get_figwidth() * DPI), 1 - 16 / height, title, size=13, weight="bold", va="top")
    made.text(16 / (made.get_figwidth() * DPI), 1 - 40 / height, subtitle, size=9, color=FAINT, va="top")


def image_grid(
    rows: Sequence[Tensor], names: Sequence[str], *, title: str, subtitle: str, rules: Sequence[int] = ()
) -> bytes:
    """Rows of images, each row with its name at the left.

    Args:
        rows: [n, C, H, W] in [0, 1] each.
        rules: rows before which there is a wider gap.
    """
    tiles = [[_displayed(image) for image in row] for row in rows]
    height, width = tiles[0][0].shape[:2]
    columns = max(len(row) for row in tiles)
    with styled():
        names = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in names]
        label_px = 30 + round(8.5 * max(map(len, names)))
        tops = [
            i * (height + GAP_PX) + 3 * GAP_PX * sum(rule <= i for rule in rules) for i in range(len(rows))
        ]
        canvas = np.ones((tops[-1] + height, columns * (width + GAP_PX) - GAP_PX, 3), np.float32)
        for top, row in zip(tops, tiles, strict=True):
            for j, tile in enumerate(row):
                left = j * (width + GAP_PX)
                canvas[top : top + height, left : left + width] = tile
        full_width = max(canvas.shape[1] + label_px + 16, 8 * len(subtitle) * 0.75 + 32, 10 * len(title) + 32)
        full_height = canvas.shape[0] + 68 + 16
        made = figure(full_width / DPI, full_height / DPI, title, subtitle)
        # One array element is one pixel of the file, so nothing is resampled.
        made.figimage(canvas, xo=label_px, yo=16, origin="upper")
        for top, name in zip(tops, names, strict=True):
            y = 16 + canvas.shape[0] - top - height / 2
            made.text((label_px - 10) / full_width, y / full_height, name, ha="right", va="center", size=10)
    return png(made)


def _displayed(image: Tensor) -> Pixels:
    """[C, H, W] as enlarged RGB [h, w, 3]; of other than 1 or 3 channels, the first in grey."""
    pixels = image.clamp(0, 1).permute(1, 2, 0).numpy().astype(np.float32)
    if pixels.shape[2] != 3:
        pixels = np.repeat(pixels[:, :, :1], 3, axis=2)
    factor = max(1, round(TILE_PX / max(pixels.shape[:2])))
    return np.asarray(pixels.repeat(factor, axis=0).repeat(factor, axis=1))
