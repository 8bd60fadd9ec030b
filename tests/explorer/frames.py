"""Measures how the map follows a hand: ``python -m tests.explorer.frames --address 127.0.0.1:8080 --model mnist``.

Drags over the map of a running server for ``--seconds`` in headless Chromium. Prints the browser's frames a second, the
decoded pictures a second, and the time from a move of the pointer to its picture, or to that of a later move.
"""

import argparse

import numpy as np

from tests.explorer.browser import launched, visiting
from tests.explorer.moving import drag, map_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--address", default="127.0.0.1:8080")
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    with (
        launched() as browser,
        visiting(browser, asked.address, f"view=map&model={asked.model}") as visit,
    ):
        map_of(visit.page)
        drag(visit.page, 1.0)
        visit.page.reload()
        seen = drag(visit.page, asked.seconds)
    waits = np.percentile(seen.waits_ms(), (50, 95, 99))
    print(f"moves of the pointer     {len(seen.moves)} in {asked.seconds:g} s")
    print(f"frames a second          {seen.frames_per_s:.1f}")
    print(f"longest frame            {np.diff(seen.frames).max():.0f} ms")
    print(f"pictures a second        {seen.pictures_per_s:.1f}")
    print(
        "pointer to picture       "
        + ", ".join(f"p{p} {w:.0f} ms" for p, w in zip((50, 95, 99), waits, strict=True))
    )


if __name__ == "__main__":
    main()
