"""How many images the networks take in one go, where no gradient ties them together.

Memory is what one portion needs, whatever the number of images, of samples and of pixels.
"""

import math
from collections.abc import Sequence

PIXELS_AT_ONCE = 1000 * 28 * 28
"""Enough for the matrix products, few enough for the caches of a CPU; a convolutional stage of 32 channels
takes 100 MB for them."""


def images_at_once(image_shape: Sequence[int], *, most: int | None = None, samples: int = 1) -> int:
    """Images [C, H, W] of a portion, each with so many samples: at least 1, at most ``most``."""
    fitting = PIXELS_AT_ONCE // (samples * math.prod(image_shape))
    return max(1, fitting if most is None else min(most, fitting))
