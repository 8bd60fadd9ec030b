"""The latent space in two dimensions: where each label's images lie, with the pools fitted to them."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from serving.bundle import PoolEntry, Pools
from training.charts import BLUE, INK, chart_png, figure, legend_name, styled
from training.evaluate.latents.planes import plane_of_pools
from training.pools import UNKNOWN, Latents

MAX_POINTS = 6000
NAMED_LABELS = 30
"""More labels than this are coloured but not named, unless their names are short."""
SHORT_NAME = 3
"""Letters of a name that fits into the map."""
NAME_GAP = 0.02
"""Between the centres of names for each letter and one more, in widths or heights of all points."""
PUSHES = 50
DEVIATIONS = 2.0
"""Ellipses are drawn at this many standard deviations: they hold 86 % of a pool."""

Doubles = NDArray[np.float64]


def latent_map(
    latents: Latents,
    labels: NDArray[np.int64] | None,
    label_names: Sequence[str],
    *,
    standard_prior: bool = True,
) -> bytes:
    """PNG. Two latents are shown as they are, more in the plane of ``plane_of_pools``, one as a histogram.

    Points are at most 6,000 training images, ellipses the pools at 2 standard deviations, the dashed circle
    is N(0, I); ``standard_prior`` says whether to draw it.
    """
    points = latents.posterior.mean.astype(np.float64)
    chosen = np.random.default_rng(0).permutation(len(points))[:MAX_POINTS]
    shown = None if labels is None else labels[chosen]
    colours = _colours(len(label_names))
    with styled():
        if points.shape[1] == 1:
            return _densities(points[:, 0], labels, label_names, colours)
        centre, axes, name = plane_of_pools(points, latents)
        made = figure(8.4, 6.6)
        ax = made.add_axes((0.08, 0.085, 0.9, 0.895), xlabel=f"{name} 1", ylabel=f"{name} 2")
        ax.set_aspect("equal", adjustable="datalim")
        flat = (points[chosen] - centre) @ axes
        colour: Any = BLUE if shown is None else colours[shown]
        size = float(np.clip(16_000 / len(flat), 4, 22))  # points², so that few points are not lost
        ax.scatter(flat[:, 0], flat[:, 1], s=size, c=colour, alpha=0.45, linewidths=0)
        if standard_prior:
            _ellipse(ax, -centre @ axes, np.eye(2), edgecolor=INK, linestyle=(0, (5, 4)), linewidth=1.4)
        of_name = dict(zip(label_names, colours, strict=True))
        _draw_pools(ax, latents.entries, latents.pools, (centre, axes), of_name)
        ax.autoscale_view()
    return chart_png(made)


def _draw_pools(
    ax: Axes,
    entries: Sequence[PoolEntry],
    pools: Pools,
    plane: tuple[Doubles, Doubles],
    colours: dict[str, Any],
) -> None:
    """An ellipse a pool. Short names stand at its centre or close by, longer ones in a legend.

    Pools that were found have no label's colour, so they get their own.
    """
    centre, axes = plane
    shown = [(i, entry) for i, entry in enumerate(entries) if entry.name != UNKNOWN]
    kinds = [(i, entry) for i, entry in shown if not entry.aggregate or len(entries) == 1]
    longest = max(len(entry.name) for _, entry in kinds)
    brief = longest <= SHORT_NAME
    means = np.stack([(pools.mean[i].astype(np.float64) - centre) @ axes for i, _ in kinds])
    extent = float(np.ptp(ax.dataLim.get_points(), axis=0).max())
    places = moved_apart(means, NAME_GAP * (1 + longest) * extent) if len(kinds) <= NAMED_LABELS else means
    handles = []
    for own, mean, place, (i, entry) in zip(_colours(len(kinds)), means, places, kinds, strict=True):
        lower = axes.T @ pools.cholesky[i].astype(np.float64)
        colour = INK if entry.aggregate else colours.get(entry.name, own)
        handles.append(_ellipse(ax, mean, lower @ lower.T, edgecolor=colour, linewidth=1.9))
        if brief:
            name = ax.text(place[0], place[1], entry.name, size=14, weight="bold", color=colour)
            name.set(ha="center", va="center", path_effects=[withStroke(linewidth=3.5, foreground="white")])
    if not brief and len(kinds) <= NAMED_LABELS:
        names = [legend_name(entry.name) for _, entry in kinds]
        ax.legend(handles, names, loc="upper right", frameon=True, framealpha=0.85, edgecolor="none")


def moved_apart(points: Doubles, gap: float) -> Doubles:
    """The points [N, 2], those nearer to one another than ``gap`` pushed apart: no name hides another."""
    moved = points.copy()
    for _ in range(PUSHES):
        for i, j in combinations(range(len(moved)), 2):
            way = moved[j] - moved[i]
            distance = float(np.linalg.norm(way))
            if distance < gap:
                direction = way / distance if distance > 0 else np.array([1.0, 0.0])
                push = (gap - distance) / 2 * direction
                moved[i] -= push
                moved[j] += push
    return moved


def _ellipse(ax: Axes, mean: Doubles, covariance: Doubles, **style: Any) -> Ellipse:
    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * DEVIATIONS * np.sqrt(np.maximum(variances[::-1], 0))
    angle = np.degrees(np.arctan2(directions[1, 1], directions[0, 1]))
    ellipse = Ellipse(tuple(mean), width, height, angle=angle, fill=False, **style)
    ax.add_patch(ellipse)
    return ellipse


def _densities(
    values: Doubles, labels: NDArray[np.int64] | None, label_names: Sequence[str], colours: Doubles
) -> bytes:
    made = figure(8.4, 4.2)
    ax = made.add_axes((0.08, 0.13, 0.9, 0.84), xlabel="latent 1", ylabel="training images")
    edges = np.linspace(values.min(), values.max(), 80).tolist()
    if labels is None:
        ax.hist(values, edges, color=BLUE)
    else:
        groups = [values[labels == i] for i in range(len(label_names))]
        names = [legend_name(name) for name in label_names]
        ax.hist(groups, edges, stacked=True, color=list(colours), label=names)
        if len(label_names) <= NAMED_LABELS:
            ax.legend(ncols=2)
    return chart_png(made)


def _colours(count: int) -> Doubles:
    """[count, 4] RGBA, well apart."""
    if count <= 20:
        return np.asarray(colormaps["tab10" if count <= 10 else "tab20"](np.arange(count)))
    return np.asarray(colormaps["gist_rainbow"](np.linspace(0, 1, count)))
