"""Walks as GIF, read back by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from serving.errors import InvalidInput, Unsupported
from serving.explorer import animation
from serving.explorer.animation import (
    Animation,
    chosen_scale,
    frames_of,
    palette_of,
    read_animation,
    to_gif,
)

RNG = np.random.default_rng(0)


def read(file: bytes, mode: str) -> tuple[list[np.ndarray], list[int]]:
    with Image.open(io.BytesIO(file)) as gif:
        shown = [
            (np.asarray(frame.convert(mode)), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)
        ]
        assert gif.info["loop"] == 0
    return [pixels for pixels, _ in shown], [duration for _, duration in shown]


@pytest.mark.parametrize("bounce", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_frame_by_frame(channels, bounce):
    """Every image in its place, each pixel as large as was asked; back again without the ends twice."""
    # No more than 256 colours, so that none is lost.
    images = RNG.integers(0, 2, (5, channels, 4, 6), np.uint8) * 255
    frames, durations = read(
        to_gif(frames_of(images, 3, palette_of(images)), Animation(delay_ms=120, bounce=bounce)),
        "RGB" if channels == 3 else "L",
    )
    order = [0, 1, 2, 3, 4, 3, 2, 1] if bounce else [0, 1, 2, 3, 4]
    assert durations == [120] * len(order)
    for frame, number in zip(frames, order, strict=True):
        wanted = images[number].repeat(3, axis=1).repeat(3, axis=2)
        np.testing.assert_array_equal(frame, wanted[0] if channels == 1 else wanted.transpose(1, 2, 0))


def test_grey_is_exact():
    """All 256 levels."""
    images = RNG.integers(0, 256, (3, 1, 20, 20), np.uint8)
    frames, _ = read(to_gif(frames_of(images, 1, palette_of(images)), Animation()), "L")
    np.testing.assert_array_equal(frames, images[:, 0])


def test_colours_are_near():
    """Of a coloured walk, larger than what its colours are chosen by: a few levels beside what they were."""
    down, across = np.mgrid[:64, :64] / 64
    images = np.stack(
        [np.stack([across * 255, down * 255, np.full_like(down, step * 10)]) for step in range(20)]
    ).astype(np.uint8)
    frames, _ = read(to_gif(frames_of(images, 1, palette_of(images)), Animation()), "RGB")
    apart = np.abs(np.stack(frames).transpose(0, 3, 1, 2).astype(int) - images)
    assert apart.mean() < 16


def test_the_scale_fits():
    """Small images become comfortable to look at, large ones stay, and neither is more than may be."""
    assert chosen_scale((8, 1, 8, 8), Animation()) == 32
    assert chosen_scale((8, 3, 1000, 20), Animation()) == 1
    assert chosen_scale((600, 1, 8, 8), Animation(bounce=True)) == 14
    assert chosen_scale((8, 1, 8, 8), Animation(scale=2)) == 2


@pytest.mark.parametrize(
    ("shape", "shown", "problem"),
    [
        ((601, 1, 8, 8), Animation(), "steps: want at most 600 frames in a GIF, came 601"),
        ((600, 1, 28, 28), Animation(scale=64), r"steps: want at most 16777216 pixels in all frames"),
        (
            (2, 3, 4096, 4096),
            Animation(),
            r"steps: want at most 16777216 pixels in all frames .* came 33554432",
        ),
    ],
)
def test_too_much(shape, shown, problem):
    """Bounded in frames and in pixels, before any is made."""
    with pytest.raises(InvalidInput, match=problem):
        chosen_scale(shape, shown)


def test_no_picture():
    """Of two channels."""
    with pytest.raises(Unsupported, match="want a model of 1 or 3 channels, this one has 2"):
        chosen_scale((2, 2, 8, 8), Animation())


def test_steps_before_work():
    """100,000 of them are refused before one image is decoded; as many as fit are left to the service."""
    animation.check_steps(599)
    animation.check_steps(-1)
    with pytest.raises(InvalidInput, match="steps: want 1 to 599 in a GIF, came 100000"):
        animation.check_steps(100_000)


def test_fields():
    """What the address may say, and what it says if it says nothing."""
    assert read_animation({}) == Animation(delay_ms=80, bounce=False, scale=None)
    fields = {"delay_ms": "20", "bounce": "1", "scale": "4"}
    assert read_animation(fields) == Animation(delay_ms=20, bounce=True, scale=4)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"delay_ms": "0"}, "delay_ms: want 20 to 10000, came '0'"),
        ({"delay_ms": "-80"}, "delay_ms: want 20 to 10000, came '-80'"),
        ({"delay_ms": "٨٠"}, "delay_ms: want 20 to 10000"),
        ({"delay_ms": "9" * 5000}, "delay_ms: want 20 to 10000"),
        ({"delay_ms": ""}, "delay_ms: want 20 to 10000, came ''"),
        ({"bounce": "yes"}, "bounce: want 0 to 1, came 'yes'"),
        ({"scale": "65"}, "scale: want 1 to 64, came '65'"),
        ({"speed": "1"}, "query: want bounce, delay_ms or scale, came 'speed'"),
    ],
)
def test_bad_fields(fields, problem):
    """One line that names the field."""
    with pytest.raises(InvalidInput, match=problem):
        read_animation(fields)
