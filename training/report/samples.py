"""Grids of new images, and of test images beside their reconstructions."""

from training.report.grid import Grid, Line
from training.report.scene import Scene

PRIOR_ROWS = 4
PAIR_ROWS = 4
MAX_POOL_ROWS = 30
MEANS = "means of p(x|z), in no chosen order"


def prior_samples(scene: Scene) -> Grid:
    """Of the prior."""
    images = scene.of_prior(PRIOR_ROWS * scene.columns, use=10)
    rows = images.split(scene.columns)
    names = [prior_name(scene), *[""] * (len(rows) - 1)]
    lines = [Line(name, row) for name, row in zip(names, rows, strict=True)]
    return Grid("samples.png", "Samples of the prior", MEANS, lines)


def pool_samples(scene: Scene) -> Grid:
    """A row for each pool; of at most 30 pools."""
    shown = scene.pools[:MAX_POOL_ROWS]
    left_out = len(scene.pools) - len(shown)
    more = f"; {left_out} more pools are not shown" if left_out else ""
    lines = [Line(pool.name, scene.of_pool(pool.row, scene.columns)) for pool in shown]
    return Grid("pools.png", "Samples of each pool", MEANS + more, lines)


def reconstructions(scene: Scene) -> Grid:
    """Test images, each above the decoded mean of its posterior."""
    lines: list[Line] = []
    for originals in scene.test_images(PAIR_ROWS * scene.columns, use=0).split(scene.columns):
        lines.append(Line("image", originals, opens=bool(lines)))
        lines.append(Line("reconstruction", scene.decoded(scene.encoded(originals))))
    subtitle = "test images, each above the decoded mean of its posterior"
    return Grid("reconstructions.png", "Reconstructions", subtitle, lines)


def prior_name(scene: Scene) -> str:
    """As a name of a row."""
    return "learned prior" if scene.has_flow else "N(0, I)"
