"""A walk as an animated GIF, the one form of moving pictures that is shown wherever a picture is.

Made by Pillow: 256 colours, and so exact for grey images. Frames share them: nothing flickers, and to choose
them anew for 256x256 pixels takes 0.4 s.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serving.errors import InvalidInput, Unsupported, quoted

Pixels = NDArray[np.uint8]

MOST_FRAMES = 600
MOST_PIXELS = 16 << 20
"""Of all frames together: a second or so of one thread."""
_DELAYS_MS = (20, 10_000)
"""Browsers show what is quicker than 20 ms ten times as slow."""
_SCALES = (1, 64)
_COMFORTABLE = 256
"""Pixels of the longer side up to which a GIF is enlarged, unless its caller says by how much."""
_LONGEST_NUMBER = 6
"""Digits."""
_COLOURS = 256
_SAMPLED = 16_384
"""Pixels by which they are chosen."""
_MODES = {1: "L", 3: "RGB"}
"""Pillow's, by the number of channels."""


@dataclass(frozen=True)
class Animation:
    """How a walk is shown."""

    delay_ms: int = 80
    """Of each frame; GIF itself counts in 10 ms."""
    bounce: bool = False
    """Whether it walks back again."""
    scale: int | None = None
    """Pixels of the GIF for one of the image, along each side; None chooses."""


def read_animation(fields: Mapping[str, str]) -> Animation:
    """Of the fields of an address. Raises InvalidInput."""
    for name in fields:
        if name not in ("bounce", "delay_ms", "scale"):
            raise InvalidInput("query", f"want bounce, delay_ms or scale, came {quoted(name)}")
    return Animation(
        delay_ms=_number(fields, "delay_ms", _DELAYS_MS) or Animation.delay_ms,
        bounce=bool(_number(fields, "bounce", (0, 1))),
        scale=_number(fields, "scale", _SCALES),
    )


def _number(fields: Mapping[str, str], name: str, bounds: tuple[int, int]) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    low, high = bounds
    is_number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    if not is_number or not low <= int(text) <= high:
        raise InvalidInput(name, f"want {low} to {high}, came {quoted(text)}")
    return int(text)


def check_steps(steps: int) -> None:
    """Raises InvalidInput for more than a GIF may have; it is looked at before anything is decoded."""
    if steps >= MOST_FRAMES:
        raise InvalidInput("steps", f"want 1 to {MOST_FRAMES - 1} in a GIF, came {steps}")


def chosen_scale(shape: Sequence[int], animation: Animation) -> int:
    """For images of this shape, [B, C, H, W]. Raises InvalidInput, or Unsupported for their channels."""
    frames, channels, height, width = shape
    if channels not in _MODES:
        raise Unsupported(f"GIF: want a model of 1 or 3 channels, this one has {channels}")
    if frames > MOST_FRAMES:
        raise InvalidInput("steps", f"want at most {MOST_FRAMES} frames in a GIF, came {frames}")
    shown = frames * (2 if animation.bounce else 1) * height * width
    scale = animation.scale
    if scale is None:
        fits = int((MOST_PIXELS / shown) ** 0.5)
        scale = max(1, min(fits, _COMFORTABLE // max(height, width)))
    if shown * scale**2 > MOST_PIXELS:
        raise InvalidInput(
            "steps", f"want at most {MOST_PIXELS} pixels in all frames of a GIF, came {shown * scale**2}"
        )
    return scale


def palette_of(images: Pixels) -> Image.Image | None:
    """The colours of frames, chosen by images [B, C, H, W]; None for grey ones, which have them all."""
    count, channels, height, width = images.shape
    if channels == 1:
        return None
    image, pixel = np.divmod(_sampled(count * height * width), height * width)
    sample = images[image, :, pixel // width, pixel % width]
    return Image.fromarray(sample[None]).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)


def _sampled(count: int) -> NDArray[np.int64]:
    """Places among so many, all if they are few, the same each time."""
    if count <= _SAMPLED:
        return np.arange(count)
    return np.random.default_rng(0).integers(0, count, _SAMPLED)


def frames_of(images: Pixels, scale: int, palette: Image.Image | None) -> list[Image.Image]:
    """Images [B, C, H, W] in these colours, enlarged without smoothing: pixels are the data."""
    return [_frame(image, scale, palette) for image in images]


def _frame(image: Pixels, scale: int, palette: Image.Image | None) -> Image.Image:
    _, height, width = image.shape
    if palette is None:
        shown = Image.fromarray(image[0])
    else:
        coloured = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        shown = coloured.quantize(palette=palette, dither=Image.Dither.NONE)
    return shown.resize((width * scale, height * scale), Image.Resampling.NEAREST)


def to_gif(frames: Sequence[Image.Image], animation: Animation) -> bytes:
    """The file; it plays for ever."""
    first, *rest = frames
    back = list(reversed(rest[:-1])) if animation.bounce else []
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=[*rest, *back], duration=animation.delay_ms, loop=0)
    return file.getvalue()
