"""A million samples to a slow reader: ``python -m benchmarks.serving.stream``.

The reader asks for far more than fits into memory, reads nothing for a while, then reads slower than the
server could send. What the server holds must be bounded by flow control, not by what was asked for.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.serving import machine, models
from benchmarks.serving.servers import Vaeserve, vaeserve
from serving.client import Client

_MODEL = "mlp"
_BOUND_MIB = 256
_INTERVAL_S = 0.2
_PAUSE_S = 15.0
"""In which nothing is read."""
_LONGEST_NAP_S = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.stream")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=120.0, help="about how long the reader takes")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/stream.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vae-stream-") as name:
        repository = models.make_repository(Path(name, "models"))
        with vaeserve(repository, Path(name, "log")) as server:
            before = server.process.usage().rss_mib
            began = time.monotonic()
            with Memory(server) as memory:
                rows = _read_slowly(server, options.rows, options.seconds)
            seconds = time.monotonic() - began
    peak = max(memory.rss_mib)
    passed = rows == options.rows and peak < _BOUND_MIB
    print(
        f"{'pass' if passed else 'FALL SHORT'}  {rows:,} rows in {seconds:.0f} s: "
        f"the server held {before:.0f} MiB before and {peak:.0f} MiB at most, want less than {_BOUND_MIB}"
    )
    document = {
        "machine": machine.describe(),
        "rows": rows,
        "row_bytes": 4 * 28 * 28,
        "seconds": round(seconds, 1),
        "pause_s": _PAUSE_S,
        "rss_mib_before": round(before, 1),
        "rss_mib_peak": round(peak, 1),
        "bound_mib": _BOUND_MIB,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if passed else 1


class Memory:
    """Looks at the server's resident memory, again and again, while it is entered."""

    def __init__(self, server: Vaeserve) -> None:
        self.rss_mib: list[float] = []
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_INTERVAL_S):
            self.rss_mib.append(self._server.process.usage().rss_mib)


def _read_slowly(server: Vaeserve, wanted: int, seconds: float) -> int:
    """Rows read, at an even pace after a pause, each checked for its place."""
    rows, began = 0, time.monotonic()
    with Client(f"127.0.0.1:{server.port}") as client:
        for part in client.sample_stream(_MODEL, wanted, seed=1):
            if not rows:
                time.sleep(_PAUSE_S)
            if part.first_row != rows:
                raise SystemExit(f"stream: want row {rows} next, came {part.first_row}")
            rows += len(part.images)
            due = began + _PAUSE_S + seconds * rows / wanted
            time.sleep(min(max(0.0, due - time.monotonic()), _LONGEST_NAP_S))
    return rows


if __name__ == "__main__":
    sys.exit(main())
