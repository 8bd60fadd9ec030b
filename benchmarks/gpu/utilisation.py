"""The share of the time in which the card computes, as nvidia-smi says; sampled beside what runs."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.gpu.smi import query

_EVERY_S = 0.25


class Use:
    """What was seen so far."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    @property
    def share(self) -> float | None:
        """0 to 1; None where there is no card, or nothing was seen."""
        return sum(self.samples) / len(self.samples) / 100 if self.samples else None


@contextmanager
def watched(device: str) -> Iterator[Use]:
    """Sampled within, from the second sample on: each looks back a little."""
    use, over = Use(), threading.Event()

    def watch() -> None:
        while not over.wait(_EVERY_S):
            try:
                use.samples.append(float(query("utilization.gpu")[0]))
            except (OSError, subprocess.CalledProcessError, ValueError):
                return

    thread = threading.Thread(target=watch, daemon=True)
    if device == "cuda":
        thread.start()
    try:
        yield use
    finally:
        over.set()
        if device == "cuda":
            thread.join()
        if len(use.samples) > 1:
            del use.samples[0]
