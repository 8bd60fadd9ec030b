"""What ``--latent`` may say: a number of latents, or the shape of a map of them."""

import math
import reprlib
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

MOST_LATENTS = 4096
_AXES = 3


def _parsed(value: Any) -> Any:
    """The text of a flag, 40 or 4x32x32, as a number or three of them."""
    if isinstance(value, str):
        parts = value.lower().split("x")
        if not all(part.isdecimal() and len(part) < 10 for part in parts):
            raise ValueError(f"{_WANTED}; came {reprlib.repr(value)}")
        numbers = [int(part) for part in parts]
        value = numbers[0] if len(numbers) == 1 else numbers
    if isinstance(value, list | tuple) and len(value) != _AXES:
        raise ValueError(f"{_WANTED}; came {reprlib.repr(_in_words(value))}")
    return value


def _bounded(value: int | tuple[int, int, int]) -> int | tuple[int, int, int]:
    sizes = as_shape(value)
    if min(sizes) < 1 or math.prod(sizes) > MOST_LATENTS:
        raise ValueError(f"want 1 to {MOST_LATENTS} latents in all; came {latent_in_words(value)}")
    return value


def _in_words(sizes: Any) -> str:
    return "x".join(str(size) for size in sizes)


_WANTED = "want a number of latents, like 40, or CxHxW, like 4x32x32"

Latent = Annotated[int | tuple[int, int, int], BeforeValidator(_parsed), AfterValidator(_bounded)]
"""A vector of so many latents, or a map (C, H, W)."""


def as_shape(latent: int | tuple[int, int, int]) -> tuple[int, ...]:
    """Of the latents of one image."""
    return (latent,) if isinstance(latent, int) else latent


def latent_in_words(latent: int | tuple[int, int, int]) -> str:
    """As the flag has it."""
    return _in_words(as_shape(latent))
