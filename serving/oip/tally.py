"""What a part has answered since the server started, for ModelStatistics."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Tally:
    """Counts requests and rows. Times are from a request's admission to its answer; batches share some.

    What of it was waiting is not told apart and stands under ``compute_infer``. The other parts count all the
    same: perf_analyzer takes a model whose ``queue`` has not counted for one that did not answer.
    """

    rows: int = 0
    succeeded: int = 0
    succeeded_ns: int = 0
    failed: int = 0
    failed_ns: int = 0
    last_ms: int = 0
    """When a request was answered last, since 1970."""

    @contextmanager
    def request(self) -> Iterator[None]:
        """Around each, whatever becomes of it."""
        began = time.perf_counter_ns()
        try:
            yield
        except BaseException:
            self.failed += 1
            self.failed_ns += time.perf_counter_ns() - began
            raise
        self.succeeded += 1
        self.succeeded_ns += time.perf_counter_ns() - began
        self.last_ms = time.time_ns() // 1_000_000

    def tell(self, statistics: Any) -> None:
        """Into a ``ModelStatistics``."""
        statistics.last_inference = self.last_ms
        statistics.inference_count = self.rows
        statistics.execution_count = self.succeeded
        found = statistics.inference_stats
        found.success.count, found.success.ns = self.succeeded, self.succeeded_ns
        found.fail.count, found.fail.ns = self.failed, self.failed_ns
        found.compute_infer.count, found.compute_infer.ns = self.succeeded, self.succeeded_ns
        for part in (found.queue, found.compute_input, found.compute_output):
            part.count = self.succeeded
