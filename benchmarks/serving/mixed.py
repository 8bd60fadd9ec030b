"""Single rows beside a huge request: ``python -m benchmarks.serving.mixed``.

A client starts 200 requests of one row a second while another asks for 2,048 rows at a time, without a
pause. The single rows must not wait for more than what an executor has begun: their 99th percentile
is compared with the time of one full batch.
"""

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving import h2load, machine, models
from benchmarks.serving.protocols import VaeV1
from benchmarks.serving.servers import Vaeserve, vaeserve
from benchmarks.serving.sessions import single_threaded
from benchmarks.serving.workloads import Case, Workload
from serving.settings import Settings

_SINGLES_PER_S = 200
_SINGLES_AT_ONCE = 512
"""High enough never to hold a single row back."""
_HUGE_ROWS = 2048
_FACTOR = 3.0
_WARM_UP_S = 1.0
_RUNS = 30


@dataclass(frozen=True)
class Result:
    model: str
    batch_rows: int
    batch_ms: float
    """One full batch in raw ONNX Runtime on one thread, the machine otherwise idle."""
    alone_p50_ms: float
    alone_p99_ms: float
    p50_ms: float
    p99_ms: float
    singles: int
    huge_requests: int
    huge_p50_ms: float

    @property
    def ratio(self) -> float:
        return self.p99_ms / self.batch_ms

    def __str__(self) -> str:
        mark = "pass      " if self.ratio <= _FACTOR else "FALL SHORT"
        return (
            f"{mark}  {self.model}: single rows p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms "
            f"(alone {self.alone_p50_ms:.2f} and {self.alone_p99_ms:.2f}); p99 is {self.ratio:.2f} batches "
            f"of {self.batch_rows} rows ({self.batch_ms:.2f} ms), want at most {_FACTOR:g}; "
            f"{_HUGE_ROWS:,} rows took {self.huge_p50_ms:.0f} ms, {self.huge_requests} of them answered"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.mixed")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--quick", action="store_true", help="3 seconds, for development")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/mixed.json"))
    options = parser.parse_args()
    seconds = 3.0 if options.quick else options.seconds
    with tempfile.TemporaryDirectory(prefix="vae-mixed-") as name:
        folder = Path(name)
        repository = models.make_repository(folder / "models")
        results = []
        for model in models.LATENTS:
            with vaeserve(repository, folder / "log", f"--max-streams={_SINGLES_AT_ONCE}") as server:
                results.append(_measure(server, repository, model, seconds))
            print(results[-1], flush=True)
    if not options.quick:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": machine.describe(), "results": [asdict(result) for result in results]}
        options.output.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _measure(server: Vaeserve, repository: Path, model: str, seconds: float) -> Result:
    single = _target(server, repository, model, 1, _SINGLES_AT_ONCE, _SINGLES_PER_S)
    huge = _target(server, repository, model, _HUGE_ROWS, 1, None)
    batch_rows = Settings.model_fields["max_batch_rows"].default
    batch_ms = _batch_ms(repository, model, batch_rows)
    alone = _load(single, seconds)
    with ThreadPoolExecutor(1) as threads:
        beside = threads.submit(_load, huge, seconds)
        mixed = _load(single, seconds)
    huge_ms = beside.result().latencies_ms
    return Result(
        model=model,
        batch_rows=batch_rows,
        batch_ms=batch_ms,
        alone_p50_ms=float(np.percentile(alone.latencies_ms, 50)),
        alone_p99_ms=float(np.percentile(alone.latencies_ms, 99)),
        p50_ms=float(np.percentile(mixed.latencies_ms, 50)),
        p99_ms=float(np.percentile(mixed.latencies_ms, 99)),
        singles=len(mixed.latencies_ms),
        huge_requests=len(huge_ms),
        huge_p50_ms=float(np.percentile(huge_ms, 50)),
    )


def _target(
    server: Vaeserve, repository: Path, model: str, rows: int, at_once: int, per_s: int | None
) -> h2load.Target:
    workload = Workload(f"{model}_{rows}", model, "Decode", rows, at_once)  # type: ignore[arg-type]
    case, wire = Case(workload, repository), VaeV1()
    return h2load.Target(
        port=server.port,
        path=wire.path(workload),
        body=wire.body(case),
        reply_bytes=wire.reply_bytes(server.port, case),
        http1=False,
        at_once=at_once,
        per_s=per_s,
    )


def _load(target: h2load.Target, seconds: float) -> h2load.Load:
    load, _, _ = h2load.generate(target, _WARM_UP_S, seconds, lambda: None)
    return load


def _batch_ms(repository: Path, model: str, rows: int) -> float:
    session = single_threaded(repository / model / "1" / "decoder.onnx")
    feed = {"latent": np.zeros((rows, models.LATENTS[model]), np.float32)}
    taken = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e3


if __name__ == "__main__":
    sys.exit(main())
