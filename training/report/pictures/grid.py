"""What a report shows: grids of images, charts and an animation, each also a file of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from training.charts import Still
from training.report.pictures.canvas import image_grid, strip, strip_png


class Line(NamedTuple):
    """A row of a grid."""

    name: str
    images: Tensor
    """[n, C, H, W] in [0, 1]."""
    note: str = ""
    """Stands at its end, in the page alone."""
    opens: bool = False
    """Whether a wider gap sets it apart from the row above."""


@dataclass(frozen=True)
class Grid:
    """Rows of images with their names."""

    file: str
    title: str
    subtitle: str
    lines: Sequence[Line]
    column_rules: tuple[int, ...] = ()
    """Columns before which there is a wider gap."""

    def content(self) -> bytes:
        """PNG, heading included."""
        return image_grid(
            [line.images for line in self.lines],
            [line.name for line in self.lines],
            title=self.title,
            subtitle=self.subtitle,
            rules=[i for i, line in enumerate(self.lines) if line.opens],
            column_rules=self.column_rules,
        )

    def strips(self) -> list[tuple[Line, bytes]]:
        """Each row with its images as a PNG, for the page, which sets the names itself."""
        return [(line, strip_png(strip(line.images, self.column_rules))) for line in self.lines]


Picture = Grid | Still
