"""What a person does on the page, in words, and what the page holds."""

import re
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from numpy.typing import NDArray

from tests.explorer.browser import canvas_of
from tests.support import patience

Pixels = NDArray[np.uint8]


def answered(page: Any) -> None:
    """Waits until the view has asked what it wanted, and shows it."""
    page.wait_for_function(
        "() => document.querySelector('h1') && !document.querySelector('[aria-busy=\"true\"]')"
    )


def wall_of(page: Any, count: int, within: str = "main") -> Pixels:
    """The images of the grid once there are ``count``, and their answer is here: [N, H, W, 3]."""
    page.wait_for_function(
        "([wall, count]) => document.querySelectorAll(wall).length === count",
        arg=[f"{within} .wall canvas", count],
    )
    answered(page)
    return shown_by(page, count, within)


def shown_by(page: Any, count: int, within: str = "main") -> Pixels:
    """The same at this moment."""
    pictures = page.locator(f"{within} .wall canvas")
    return np.stack([canvas_of(pictures.nth(row))[..., :3] for row in range(count)])


def as_shown(images: Pixels) -> Pixels:
    """uint8 [N, C, H, W] as the page draws it: [N, H, W, 3]; of two channels the first."""
    channels = [0, 0, 0] if images.shape[1] < 3 else [0, 1, 2]  # a picture has three
    return images[:, channels].transpose(0, 2, 3, 1)


def fragment_of(page: Any) -> dict[str, str]:
    """What the address says."""
    return {key: values[0] for key, values in parse_qs(page.url.partition("#")[2]).items()}


def wait_for_fragment(page: Any, key: str, pattern: str) -> str:
    """The value of a key of the address, once it is like this; the page writes it a moment later."""
    patience.wait_until(
        lambda: page.wait_for_timeout(20) or re.fullmatch(pattern, fragment_of(page).get(key, ""))
    )
    return fragment_of(page)[key]
