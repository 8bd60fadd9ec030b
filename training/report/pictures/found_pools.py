"""Kinds that were found without labels, beside the labels that the search did not see."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Pools
from training.charts import BLUE, INK, Still, chart_png, figure, legend_name, short, styled
from training.evaluate.latents.probes import cluster_agreement
from training.pools.kinds import FoundKinds, pool_name, read_kinds
from training.pools.latent_space import fit_found
from training.report.pictures.grid import Grid, Line, Picture
from training.report.pictures.reported_model import ReportedModel
from training.report.pictures.sample_grids import MAX_POOL_ROWS, MEANS
from training.runs import Run

MOST_LABELS = 40
"""A table with more columns cannot be read."""
DARK = 0.6
"""A share from which on its number is written in white."""


@dataclass(frozen=True)
class FoundPools:
    """What ``vae-train pools`` left in the run folder, for data that have labels as well."""

    kinds: FoundKinds
    names: tuple[str, ...]
    pools: Pools
    """A row for each name; more may follow."""
    shares: NDArray[np.float64]
    """[pools, labels] share of a pool's training images that have the label."""
    accuracy: float
    """Share of the training images whose pool's label is theirs, pools and labels matched one to one as well
    as can be (the Hungarian method)."""


def found_pools(run: Run, reported: ReportedModel, *, step: int) -> FoundPools | None:
    """None where nothing was looked for, or there are no labels to compare with."""
    labels = reported.dataset.train.labels
    if labels is None or len(reported.dataset.label_names) > MOST_LABELS:
        return None
    kept = read_kinds(run.path, step=step, images=len(labels))
    if kept is None:
        return None
    kinds, assignment = kept
    # Whatever examples called them since: what is shown was found without.
    names = tuple(pool_name(index) for index in range(len(kinds.kinds)))
    if len(names) < 2:
        return None
    counts = np.zeros((len(names), len(reported.dataset.label_names)))
    np.add.at(counts, (assignment, labels.numpy()), 1)
    return FoundPools(
        kinds,
        names,
        fit_found(reported.latents.posterior.mean, assignment, names)[1],
        counts / counts.sum(axis=1, keepdims=True),
        cluster_agreement(labels.numpy(), assignment)["acc"],
    )


def words(found: FoundPools) -> list[str]:
    """Of the section."""
    merged = f", merged into {found.kinds.count} pools by overlap" if found.kinds.count else ""
    return [
        f"These {len(found.names)} pools were found without a single label: a Gaussian mixture of "
        f"{found.kinds.components} components on the posterior means{merged}. That it works is what a "
        "latent space is for: images of one kind lie together, though nobody said which are.",
        f"The labels are shown for comparison alone. Matched one to one they agree for "
        f"{found.accuracy:.1%} of the training images (clustering accuracy). Fits from different starts "
        f"agree with one another to an adjusted Rand index of {found.kinds.stability:.2f}.",
    ]


def pictures(found: FoundPools, reported: ReportedModel) -> list[Picture]:
    """Samples of each pool, and which labels its images have."""
    names = reported.dataset.label_names
    lines = []
    for row, name in list(enumerate(found.names))[:MAX_POOL_ROWS]:
        label = int(found.shares[row].argmax())
        note = f"{found.shares[row, label]:.0%} {short(names[label])}"
        lines.append(Line(short(name), reported.of(found.pools, row, reported.columns), note))
    grid = Grid("found_pools.png", "Samples of the pools that were found without labels", MEANS, lines)
    table = Still("found_labels.png", "Labels of the images in each pool", _table(found, names))
    return [grid, table]


def _table(found: FoundPools, label_names: tuple[str, ...]) -> bytes:
    rows, columns = found.shares.shape
    with styled():
        made = figure(1.6 + 0.55 * columns, 0.7 + 0.34 * rows)
        width, height = made.get_size_inches()
        ax = made.add_axes((1.2 / width, 0.1 / height, 0.55 * columns / width, 0.34 * rows / height))
        ax.imshow(found.shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_xticks(range(columns), [legend_name(name) for name in label_names])
        ax.set_yticks(range(rows), [legend_name(name) for name in found.names])
        ax.xaxis.tick_top()
        ax.set_xlabel("label", color=BLUE)
        ax.xaxis.set_label_position("top")
        ax.tick_params(length=0)
        ax.grid(visible=False)
        for row, column in zip(*np.nonzero(found.shares >= 0.005), strict=True):  # what rounds to 1 %
            share = found.shares[row, column]
            colour = "white" if share > DARK else INK
            ax.text(column, row, f"{share:.0%}", ha="center", va="center", size=8, color=colour)
    return chart_png(made)
