"""ONNX Runtime alone, from host to host (``children.py``): what the server is held to."""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.children import Answer, answering
from benchmarks.gpu.sessions import session
from serving.runtime.providers import ProviderName

_WARM_UP, _SLOW_S = 3, 0.5
"""Runs, but no more of those that take so long."""
_FEWEST = 2


class Raw:
    def __init__(self, file: Path, device: ProviderName) -> None:
        self._session: Any = session(file, device)
        (node,) = self._session.get_inputs()
        self._name, self._shape = node.name, node.shape[1:]

    def __call__(self, question: Answer) -> Answer:
        rows, seconds = question["rows"], question["seconds"]
        inputs = np.random.default_rng(0).standard_normal((rows, *self._shape), np.float32)
        feed = {self._name: inputs}
        times: list[float] = []
        warmed = time.perf_counter()
        while not times or (len(times) < _WARM_UP and time.perf_counter() - warmed < _SLOW_S):
            self._session.run(None, feed)
            times.append(0.0)
        times.clear()
        began = time.perf_counter()
        while len(times) < _FEWEST or time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            self._session.run(None, feed)
            times.append(time.perf_counter() - sent)
        took = time.perf_counter() - began
        return {"p50_ms": 1000 * statistics.median(times), "rows_per_s": len(times) * rows / took}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.raw")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    options = parser.parse_args()
    answering(Raw(options.file, options.device))


if __name__ == "__main__":
    main()
