"""mosec: an HTTP/1.1 front in Rust, workers in Python, raw bytes in and out.

The documentation advises a ``max_wait_time`` below the time of one batch: a millisecond, the least it
takes. Batches count requests. One worker process a CPU.
"""

# mypy: ignore-errors
# Checked by running: its imports are in the peer's environment alone.

import os
import sys
from pathlib import Path

import numpy as np
from graphs import CPUS, OnnxGraph, options
from mosec import Server, Worker

_MAX_BATCH_REQUESTS = 64
_WAIT_MS = 1
_GRAPH = "BENCHMARK_GRAPH"
"""Tells the workers, which are processes of their own, what to load."""


class GraphWorker(Worker):
    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        super().__init__()
        self._graph = OnnxGraph(Path(os.environ[_GRAPH]))

    def deserialize(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.float32).reshape(-1, *self._graph.input_shape)

    def forward(self, data):
        if self.max_batch_size == 1:
            return self._graph(data)
        outputs = self._graph(np.concatenate(data))
        ends = np.cumsum([len(rows) for rows in data])[:-1]
        return list(zip(*(np.split(output, ends) for output in outputs), strict=True))

    def serialize(self, data) -> bytes:
        return b"".join(output.tobytes() for output in data)


def main() -> None:
    given = options()
    os.environ[_GRAPH] = str(given.graph)
    sys.argv = [sys.argv[0], "--address=127.0.0.1", f"--port={given.port}", "--log-level=warning"]
    server = Server()
    server.append_worker(
        GraphWorker,
        num=CPUS,
        max_batch_size=1 if given.unbatched else _MAX_BATCH_REQUESTS,
        max_wait_time=_WAIT_MS,
        route=f"/{given.name}",
    )
    server.run()


if __name__ == "__main__":
    main()
