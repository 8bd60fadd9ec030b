"""The common ground of all charts and pictures: one look, and a picture that is ready."""

import io
import warnings
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 100
CHART_SCALE = 2
"""Charts are drawn at twice the size they are shown at, for screens with small pixels."""
LONGEST_NAME = 20
INK = "#1c2833"
FAINT = "#7b8794"
BLUE = "#5b7fa6"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # the names of labels may hold a "$"
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


@dataclass(frozen=True)
class Still:
    """A finished picture: a chart, PNG and dark on white, or an animation, GIF."""

    file: str
    title: str
    picture: bytes

    def content(self) -> bytes:
        """The file."""
        return self.picture


def styled() -> AbstractContextManager[None]:
    """The common look, within."""
    return rc_context(STYLE)


def png(figure: Figure) -> bytes:
    """The file; the same figure gives the same bytes."""
    return saved(_drawn(figure, DPI))


def chart_png(figure: Figure) -> bytes:
    """The file of a chart: of few colours, so a palette makes it a third of the size."""
    return saved(_drawn(figure, DPI * CHART_SCALE).quantize(256, dither=Image.Dither.NONE))


def _drawn(figure: Figure, dpi: int) -> Image.Image:
    figure.set_dpi(dpi)
    drawing = FigureCanvasAgg(figure)
    with warnings.catch_warnings(), styled():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # labels in any script
        drawing.draw()
    return Image.fromarray(np.asarray(drawing.buffer_rgba())).convert("RGB")


def figure(width: float, height: float, title: str = "", subtitle: str = "") -> Figure:
    """An empty figure, in inches, with its heading."""
    made = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    heading(made, title, subtitle)
    return made


def heading(made: Figure, title: str, subtitle: str) -> None:
    """Title and a fainter line below it, at the top left."""
    _, height = made.get_size_inches() * DPI
    made.text(16 / (made.get_figwidth() * DPI), 1 - 16 / height, title, size=13, weight="bold", va="top")
    made.text(16 / (made.get_figwidth() * DPI), 1 - 40 / height, subtitle, size=9, color=FAINT, va="top")


def short(name: str) -> str:
    """A label's name as it can be drawn: printable, and no longer than fits."""
    text = "".join(letter if letter.isprintable() else "�" for letter in name)
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def legend_name(name: str) -> str:
    """The same for a legend, which would leave out a name that begins with an underscore."""
    return f" {short(name)}" if name.startswith("_") else short(name)


def saved(picture: Image.Image) -> bytes:
    """The file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
