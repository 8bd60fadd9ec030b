"""Grids of new images, and of test images beside their reconstructions."""

from training.report.pictures.grid import Grid, Line
from training.report.pictures.reported_model import ReportedModel

PRIOR_ROWS = 4
PAIR_ROWS = 4
MAX_POOL_ROWS = 30
MEANS = "means of p(x|z), in no chosen order"


def prior_samples(reported: ReportedModel) -> Grid:
    """Of the prior."""
    images = reported.of_prior(PRIOR_ROWS * reported.columns, use=10)
    rows = images.split(reported.columns)
    names = [prior_name(reported), *[""] * (len(rows) - 1)]
    lines = [Line(name, row) for name, row in zip(names, rows, strict=True)]
    return Grid("samples.png", "Samples of the prior", MEANS, lines)


def pool_samples(reported: ReportedModel) -> Grid:
    """A row for each pool; of at most 30 pools."""
    shown = reported.pools[:MAX_POOL_ROWS]
    left_out = len(reported.pools) - len(shown)
    more = f"; {left_out} more pools are not shown" if left_out else ""
    lines = [Line(pool.name, reported.of_pool(pool.row, reported.columns)) for pool in shown]
    return Grid("pools.png", "Samples of each pool", MEANS + more, lines)


def reconstructions(reported: ReportedModel) -> Grid:
    """Test images, each above the decoded mean of its posterior."""
    lines: list[Line] = []
    for originals in reported.test_images(PAIR_ROWS * reported.columns, use=0).split(reported.columns):
        lines.append(Line("image", originals, opens=bool(lines)))
        lines.append(Line("reconstruction", reported.decoded(reported.encoded(originals))))
    subtitle = "test images, each above the decoded mean of its posterior"
    return Grid("reconstructions.png", "Reconstructions", subtitle, lines)


def prior_name(reported: ReportedModel) -> str:
    """As a name of a row."""
    return "learned prior" if reported.has_flow else "N(0, I)"
