"""The five pictures of the demo."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib import pyplot as plt
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from PIL import Image

from demo.calls import Answers, Autoencoder
from demo.judging import Verdict
from serving.wire import images as formats

Pixels = NDArray[np.uint8]
Doubles = NDArray[np.float64]

FOLDER = Path("demo")
ENLARGED = 6
"""Screen pixels a pixel of the 8x8 digits."""
SHOWN_OF_PRIOR = 96
SHOWN_PER_POOL = 14
STANDARD_DEVIATIONS = 2


def draw(
    answers: Answers,
    autoencoder: Autoencoder,
    test_images: Pixels,
    test_labels: NDArray[np.int64],
    verdict: Verdict,
) -> list[Path]:
    """Write the pictures; where they are, the one to look at first leading."""
    mpl.use("agg")
    plt.style.use({"font.size": 11, "figure.dpi": 120, "axes.titlesize": 12, "figure.facecolor": "white"})
    value_range = answers.model.value_range
    _beside(answers, autoencoder, verdict)
    samples = formats.to_uint8(answers.samples[:SHOWN_OF_PRIOR], value_range)
    _save("samples.png", _sheet(samples, columns=16), "Sampled from the learned prior")
    pools = {name: formats.to_uint8(drawn, value_range) for name, drawn in answers.pools.items()}
    _pools(pools, verdict.fidelity)
    rebuilt = formats.to_uint8(answers.reconstructions, value_range)
    pairs = np.concatenate([test_images[: len(rebuilt)], rebuilt])
    title = "Test digits (above) and their reconstructions (below)"
    _save("reconstructions.png", _sheet(pairs, columns=len(rebuilt)), title)
    _latent_map(answers, test_labels)
    names = ("ae_beside_vae", "samples", "pools", "reconstructions", "latent_map")
    return [FOLDER / f"{name}.png" for name in names]


def _beside(answers: Answers, autoencoder: Autoencoder, verdict: Verdict) -> None:
    """The same random latents decoded by both, then the same two digits with a walk between them."""
    rows = {
        "autoencoder,\nrandom latents": (autoencoder.samples, f"{verdict.autoencoder_trash:.0%} trash"),
        "VAE,\nrandom latents": (answers.samples, f"{verdict.trash:.0%} trash"),
        "autoencoder,\nfrom digit to digit": (autoencoder.walk, ""),
        "VAE,\nfrom digit to digit": (answers.walk, ""),
    }
    columns = len(answers.walk)
    drawn = [images[: columns * 2] for images, _ in rows.values()]
    sheet = _sheet(formats.to_uint8(np.concatenate(drawn), answers.model.value_range), columns)
    heights = np.array([len(images) // columns for images in drawn])
    middle = (heights.cumsum() - heights / 2) * sheet.shape[1] / heights.sum()
    width, height = _inches(sheet)
    figure, axes = plt.subplots(figsize=(width + 3.2, height + 0.2))
    _show(axes, sheet)
    _name_rows(axes, middle, list(rows), [note for _, note in rows.values()])
    axes.set_title("The same network as an autoencoder and as a VAE, the same random numbers")
    _write(figure, "ae_beside_vae.png")


def _sheet(pixels: Pixels, columns: int) -> Pixels:
    """One grid, enlarged smoothly, in which 8x8 pixels read best: [C, H', W']."""
    size = (pixels.shape[3] * ENLARGED, pixels.shape[2] * ENLARGED)
    smooth = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)) for image in pixels[:, 0]
    ]
    return formats.grid(np.stack(smooth)[:, None], columns=columns, padding=4)


def _save(name: str, sheet: Pixels, title: str) -> None:
    figure, axes = plt.subplots(figsize=_inches(sheet))
    _show(axes, sheet)
    axes.set_title(title)
    _write(figure, name)


def _inches(sheet: Pixels) -> tuple[float, float]:
    return sheet.shape[2] / 96, sheet.shape[1] / 96 + 0.4


def _show(axes: Any, sheet: Pixels) -> None:
    axes.imshow(sheet.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _pools(pools: dict[str, Pixels], fidelity: dict[str, float]) -> None:
    sheet = _sheet(np.concatenate([drawn[:SHOWN_PER_POOL] for drawn in pools.values()]), SHOWN_PER_POOL)
    width, height = _inches(sheet)
    figure, axes = plt.subplots(figsize=(width + 2.2, height + 0.2))
    _show(axes, sheet)
    middle = (np.arange(len(pools)) + 0.5) * sheet.shape[1] / len(pools)
    _name_rows(axes, middle, [f"pool {name}" for name in pools], [f"{fidelity[name]:.1%}" for name in pools])
    axes.set_title(
        "Sampled from each pool\nright: share that a classifier of real digits takes for that digit"
    )
    _write(figure, "pools.png")


def _name_rows(axes: Any, middle: Doubles, names: list[str], notes: list[str]) -> None:
    """Names on the left, notes on the right of the heights ``middle``."""
    axes.set_yticks(middle, names)
    right = axes.secondary_yaxis("right")
    right.set_yticks(middle, notes)
    right.spines[:].set_visible(False)
    for side in (axes, right):
        side.tick_params(length=0)


def _latent_map(answers: Answers, labels: NDArray[np.int64]) -> None:
    means = answers.posteriors.mean.reshape(len(labels), -1).astype(np.float64)
    pool_means = np.stack([latents.mean(axis=0) for latents in answers.pool_latents.values()])
    centre, axes_of_map, share = principal_axes(pool_means.astype(np.float64))
    figure, axes = plt.subplots(figsize=(8.2, 7.4))
    points = (means - centre) @ axes_of_map
    for index, (name, latents) in enumerate(answers.pool_latents.items()):
        colour = mpl.colormaps["tab10"](index % 10)[:3]
        mine = points[labels == index]
        axes.scatter(mine[:, 0], mine[:, 1], s=16, color=colour, alpha=0.75, linewidths=0)
        drawn = (latents - centre) @ axes_of_map
        axes.add_patch(_ellipse(drawn, colour))
        axes.annotate(
            name, drawn.mean(axis=0), fontsize=17, weight="bold", color=colour, ha="center", va="center",
            path_effects=[patheffects.withStroke(linewidth=4, foreground="white")],
        )  # fmt: skip
    axes.set_xlabel(f"first principal axis of the pools' centres ({share[0]:.0%} of their variance)")
    axes.set_ylabel(f"second principal axis of the pools' centres ({share[1]:.0%})")
    axes.set_title(
        f"Where the test digits lie in latent space ({means.shape[1]} latents)\n"
        f"points: encoded test digits; ellipses: their pools, {STANDARD_DEVIATIONS} standard deviations"
    )
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(False)
    _write(figure, "latent_map.png")


def principal_axes(points: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Mean [Z], first two principal axes [Z, 2] and their shares of the variance [2] of points [N, Z]."""
    centre = points.mean(axis=0)
    _, scale, axes = np.linalg.svd(points - centre, full_matrices=False)
    return centre, axes[:2].T, np.square(scale[:2]) / np.square(scale).sum()


def _ellipse(points: Doubles, colour: Any) -> Ellipse:
    """Contour of the Gaussian of points [N, 2]."""
    variances, axes = np.linalg.eigh(np.cov(points.T))
    width, height = 2 * STANDARD_DEVIATIONS * np.sqrt(variances)
    angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
    return Ellipse(
        points.mean(axis=0), width, height, angle=angle, facecolor=(*colour, 0.10), edgecolor=colour, lw=1.5
    )


def _write(figure: Any, name: str) -> None:
    figure.savefig(FOLDER / name, bbox_inches="tight")
    plt.close(figure)
