"""Pictures of small and large steps in latent space."""

import io
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from training.charts import Still
from training.report.pictures.canvas import GAP_PX, SMALL_PX, Pixels, tile
from training.report.pictures.grid import Grid, Line
from training.report.pictures.reported_model import Example, ReportedModel

STEPS = (0.1, 0.25, 0.5, 1.0)
"""In units of the spread of the training images, latent by latent."""
STEP_EXAMPLES = 2
TRAVERSED = 8
REACH = 2.5
"""Traversals go this many standard deviations to either side."""
FRAMES_A_LEG = 9
FRAMES_HELD = 3
FRAME_MS = 80
GIF_COLOURS = 32
GIF_TILE_PX = 84
SMALL_GIF_TILE_PX = 56
"""Of images that are enlarged smoothly, which makes large files."""


def interpolations(reported: ReportedModel) -> Grid:
    """From one test image to another of a different kind, along a straight line of latents."""
    lines = []
    inner = reported.columns - 2
    for start, end in _legs(reported):
        way = reported.decoded(line(start.mean, end.mean, inner))
        ends = start.image[None], end.image[None]
        lines.append(Line(f"{start.name} → {end.name}", torch.cat([ends[0], way, ends[1]])))
    subtitle = "the test images at both ends, and what is decoded on the straight line between them"
    rules = (1, reported.columns - 1)
    return Grid("interpolations.png", "Interpolations", subtitle, lines, column_rules=rules)


def animation(reported: ReportedModel) -> Still:
    """GIF: each tile walks from one kind to the next and in the end back to where it began."""
    means = [example.mean for example in reported.kinds]
    legs = [line(start, end, FRAMES_A_LEG + 1)[:-1] for start, end in pairwise([*means, means[0]])]
    held = [torch.cat([leg[:1].expand(FRAMES_HELD, *leg.shape[1:]), leg]) for leg in legs]
    images = reported.decoded(torch.cat(held))
    frames_a_leg = FRAMES_A_LEG + FRAMES_HELD
    tile_px = SMALL_GIF_TILE_PX if max(images.shape[2:]) < SMALL_PX else GIF_TILE_PX
    tiles = [tile(image, tile_px) for image in images]
    frames = [
        _side_by_side([tiles[(frame + place * frames_a_leg) % len(tiles)] for place in range(len(means))])
        for frame in range(len(tiles))
    ]
    return Still("interpolation.gif", "A walk through latent space", _gif(frames))


def small_steps(reported: ReportedModel) -> Grid:
    """Around test images: steps of growing size in random directions."""
    lines: list[Line] = []
    for number, example in enumerate(
        reported.kinds[:: max(1, len(reported.kinds) // STEP_EXAMPLES)][:STEP_EXAMPLES]
    ):
        pair = torch.stack([example.image, reported.decoded(example.mean[None])[0]])
        lines.append(Line(f"{example.name}: image, decoded", pair, opens=bool(lines)))
        noise = reported.noise(reported.columns, use=20 + number)
        for step in STEPS:
            lines.append(
                Line(f"step {step:g}", reported.decoded(example.mean + step * reported.spread * noise))
            )
    subtitle = "random steps around a test image, in units of the spread of the training images"
    return Grid("small_steps.png", "Small steps", subtitle, lines)


def traversals(reported: ReportedModel, activity: NDArray[np.float64], unit: str) -> Grid:
    """One latent at a time, the most active ones first; all others stay as they are for one test image.

    ``activity`` [Z], in ``unit``: of what orders the latents.
    """
    example = reported.kinds[0]
    centre, deviation = reported.latents.reference.mean, reported.spread.flatten()
    steps = torch.linspace(-REACH, REACH, reported.columns)
    lines = []
    for latent in np.argsort(activity)[::-1][:TRAVERSED].tolist():
        moved = example.mean.flatten().repeat(reported.columns, 1)
        moved[:, latent] = float(centre[latent]) + steps * deviation[latent]
        images = reported.decoded(moved.unflatten(1, reported.model.latent_shape))
        lines.append(Line(f"latent {latent}", images, note=f"{activity[latent]:.2f} {unit}"))
    subtitle = f"one latent from −{REACH:g} to +{REACH:g} standard deviations of the training images"
    return Grid("traversals.png", "Traversals", subtitle, lines)


def line(start: Tensor, end: Tensor, count: int) -> Tensor:
    """[count, *latent_shape] points on the straight line, both ends included."""
    share = torch.linspace(0, 1, count).reshape(-1, *[1] * start.dim())
    return torch.lerp(start.expand(count, *start.shape), end.expand(count, *end.shape), share)


def _legs(reported: ReportedModel) -> list[tuple[Example, Example]]:
    """Each kind to the next, the last one to the first."""
    kinds = list(reported.kinds)
    return list(pairwise(kinds)) + ([(kinds[-1], kinds[0])] if len(kinds) > 2 else [])


def _side_by_side(tiles: list[Pixels]) -> Pixels:
    """RGBA, the gaps transparent."""
    opaque = np.full((*tiles[0].shape[:2], 1), 255, np.uint8)
    gap = np.zeros((tiles[0].shape[0], 2 * GAP_PX, 4), np.uint8)
    parts = [part for pixels in tiles for part in (gap, np.concatenate([pixels, opaque], axis=2))]
    return np.concatenate(parts[1:], axis=1)


def _gif(frames: list[Pixels]) -> bytes:
    """Of one palette for all frames, which keeps it small and free of flicker."""
    few = np.concatenate(frames[:: len(frames) // 6 + 1])[:, :, :3]
    palette = Image.fromarray(few).quantize(GIF_COLOURS)
    drawn = []
    for frame in frames:
        indices = Image.fromarray(frame[:, :, :3]).quantize(palette=palette, dither=Image.Dither.NONE)
        indices.paste(GIF_COLOURS, mask=Image.fromarray(255 - frame[:, :, 3]))
        drawn.append(indices)
    buffer = io.BytesIO()
    drawn[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=drawn[1:],
        duration=FRAME_MS,
        loop=0,
        transparency=GIF_COLOURS,
        optimize=False,  # which would move the transparent colour
    )
    return buffer.getvalue()
