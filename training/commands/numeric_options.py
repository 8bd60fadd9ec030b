"""Numbers on the command line: what is out of range is refused by the parser, naming what was wanted.

Options of ``vae-train fit`` are checked by the fields of ``training.config`` instead.
"""

import argparse
import math
import reprlib
from dataclasses import dataclass

from training.config import LARGEST_COUNT, LARGEST_NUMBER, LARGEST_SIDE, MOST_THREADS

SMALLEST_FACTOR = 1 / LARGEST_NUMBER
NARROWEST = 1e-6
"""Of an interval, relative to its ends: what float32 still tells apart."""


@dataclass(frozen=True)
class Whole:
    """The ``type`` of an option that takes a whole number within bounds, both included."""

    least: int
    most: int = LARGEST_COUNT

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:  # also for more digits than Python converts
            value = self.least - 1
        if not self.least <= value <= self.most:
            raise argparse.ArgumentTypeError(
                f"want a whole number from {self.least} to {self.most}, came {reprlib.repr(text)}"
            )
        return value


COUNT = Whole(1)
SEED = Whole(0)
"""As the generators of torch take them, and the config of a run."""
THREADS = Whole(1, MOST_THREADS)
SAMPLES = Whole(1, 1_000_000)


@dataclass(frozen=True)
class Real:
    """The ``type`` of an option that takes a number of float32's range; not 0 where ``is_factor``."""

    is_factor: bool = False

    def __call__(self, text: str) -> float:
        value = _number(text)
        if math.isnan(value) or (self.is_factor and abs(value) < SMALLEST_FACTOR):
            other = " other than 0" if self.is_factor else ""
            raise argparse.ArgumentTypeError(
                f"want a number{other} from {-LARGEST_NUMBER:g} to {LARGEST_NUMBER:g}, "
                f"came {reprlib.repr(text)}"
            )
        return value


@dataclass(frozen=True)
class Interval:
    """The ``type`` of an option that takes LOW,HIGH."""

    def __call__(self, text: str) -> tuple[float, float]:
        low, high = (_number(part) for part in text.split(",")) if text.count(",") == 1 else (math.nan,) * 2
        if not high - low > NARROWEST * max(abs(low), abs(high)):  # written so that NaN is refused
            limits = f"{-LARGEST_NUMBER:g} to {LARGEST_NUMBER:g}"
            raise argparse.ArgumentTypeError(
                f"want two numbers LOW,HIGH from {limits}, the smaller first; came {reprlib.repr(text)}"
            )
        return low, high


@dataclass(frozen=True)
class HeightByWidth:
    """The ``type`` of an option that takes HxW."""

    def __call__(self, text: str) -> tuple[int, int]:
        height, _, width = text.lower().partition("x")
        sides = Whole(1, LARGEST_SIDE)
        try:
            return sides(height), sides(width)
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"want HxW, like 32x48, of at most {LARGEST_SIDE} each; came {reprlib.repr(text)}"
            ) from None


NUMERIC = (Whole, Real, Interval, HeightByWidth)


def _number(text: str) -> float:
    """NaN for what is no number, or beyond float32's range."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if abs(value) <= LARGEST_NUMBER else math.nan
