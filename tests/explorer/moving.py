"""A hand on the map, and what the page shows of it."""

import time
from dataclasses import dataclass
from math import pi, sin
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.explorer.browser import canvas_of
from tests.explorer.looking import fragment_of

PICTURE = ".probe canvas.big"
EVENTS_PER_S = 60
_PROBE = "() => new URLSearchParams(location.hash.slice(1)).get('probe')"
_WATCH = """
() => {
  const seen = (window.seen = { frames: [], moves: [], pictures: [] });
  const map = document.querySelector('canvas.map');
  for (const kind of ['pointerdown', 'pointermove'])
    map.addEventListener(kind, (event) => seen.moves.push(event.timeStamp));
  map.addEventListener('picture', ({ detail }) => seen.pictures.push([detail, performance.now()]));
  const frame = (at) => { seen.frames.push(at); requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}
"""


@dataclass(frozen=True)
class Drag:
    """What the browser saw of it; times in ms, on one clock."""

    frames: NDArray[np.float64]
    """[F] when each began."""
    moves: NDArray[np.float64]
    """[M] when the pointer was where it was."""
    pictures: NDArray[np.float64]
    """[P, 2] the move that each picture is of, and when it was drawn."""

    @property
    def frames_per_s(self) -> float:
        return 1000 * (len(self.frames) - 1) / float(self.frames[-1] - self.frames[0])

    @property
    def pictures_per_s(self) -> float:
        return 1000 * len(self.pictures) / float(self.moves[-1] - self.moves[0])

    def waits_ms(self) -> NDArray[np.float64]:
        """Of every move how long it took until its picture, or that of a later move, was there."""
        first = np.searchsorted(self.pictures[:, 0], self.moves)
        seen = first < len(self.pictures)
        return self.pictures[first[seen], 1] - self.moves[seen]


def map_of(page: Any) -> Any:
    """The map, once it is there and the place of the cross is decoded."""
    page.locator(f"{PICTURE}[data-place]").wait_for()
    return page.locator("canvas.map")


def place(page: Any, across: float, down: float) -> tuple[float, float]:
    """Where on the screen a share of the map's width and height is."""
    box = map_of(page).bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def point(page: Any, across: float, down: float) -> None:
    """Moves the mouse there, and waits until the address says so."""
    page.wait_for_function(f"() => ({_PROBE})() !== null")
    before = page.evaluate(_PROBE)
    page.mouse.move(*place(page, across, down))
    page.wait_for_function(f"before => ({_PROBE})() !== before", arg=before)


def decoded(page: Any) -> NDArray[np.uint8]:
    """The large image, [H, W, 3], once it is of the place that the address names."""
    page.wait_for_function(
        f"picture => document.querySelector(picture)?.dataset.place === ({_PROBE})()", arg=PICTURE
    )
    return canvas_of(page.locator(PICTURE))[..., :3]


def cross(page: Any) -> tuple[float, float]:
    x, y = fragment_of(page)["probe"].split(",")
    return float(x), float(y)


def drag(page: Any, seconds: float) -> Drag:
    """Draws a long loop over the map with the button down, as fast as a mouse tells of it."""
    map_of(page)
    page.evaluate(_WATCH)
    page.mouse.move(*place(page, 0.5, 0.5))
    left, top = place(page, 0, 0)
    right, bottom = place(page, 1, 1)
    page.mouse.down()
    begin = time.perf_counter()
    for step in range(round(seconds * EVENTS_PER_S)):
        turn = 2 * pi * step / EVENTS_PER_S
        across, down = 0.5 + 0.4 * sin(0.31 * turn), 0.5 + 0.4 * sin(0.43 * turn)
        page.mouse.move(left + across * (right - left), top + down * (bottom - top))
        time.sleep(max(0.0, begin + (step + 1) / EVENTS_PER_S - time.perf_counter()))
    page.mouse.up()
    page.wait_for_function("() => seen.pictures.length && seen.pictures.at(-1)[0] >= seen.moves.at(-1)")
    seen = page.evaluate("() => seen")
    return Drag(np.array(seen["frames"]), np.array(seen["moves"]), np.array(seen["pictures"]).reshape(-1, 2))
