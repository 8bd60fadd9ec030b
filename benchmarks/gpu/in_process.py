"""The server's batcher and executors in this process, without its transport (``children.py``)."""

import argparse
import asyncio
import statistics
import time
from pathlib import Path

from benchmarks.gpu import servers
from benchmarks.gpu.children import Answer, answering_async
from serving.host import event_loop
from serving.models.model import Model
from serving.server import running
from serving.settings import Settings

_WARM_UP, _SLOW_S = 3, 0.5
"""Rounds of requests, but no more of those that take so long."""


async def _measure(model: Model, repository: Path, question: Answer) -> Answer:
    rows, at_once, seconds = question["rows"], question["at_once"], question["seconds"]
    latents = servers.latents(repository, model.name, rows)
    warmed, rounds = time.perf_counter(), 0
    while not rounds or (rounds < _WARM_UP and time.perf_counter() - warmed < _SLOW_S):
        rounds += 1
        await asyncio.gather(*(model.decode(latents, None) for _ in range(at_once)))
    times: list[float] = []
    began, cpu_s = time.perf_counter(), time.process_time()

    async def caller() -> None:
        while time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            await model.decode(latents, None)
            times.append(time.perf_counter() - sent)

    await asyncio.gather(*(caller() for _ in range(at_once)))
    took = time.perf_counter() - began
    return {
        "rows_per_s": len(times) * rows / took,
        "p50_ms": 1000 * statistics.median(times),
        "cpus": (time.process_time() - cpu_s) / took,
    }


async def _serve(options: argparse.Namespace) -> None:
    settings = Settings(  # type: ignore[call-arg]  # the others have defaults
        repository=options.repository,
        address="127.0.0.1:0",
        http_address="",
        metrics_address="127.0.0.1:0",
        provider=options.device,
        max_batch_rows=servers.MAX_BATCH_ROWS[options.model],
        max_message_mib=2000,
        load_timeout_s=240,
        load_memory_mib=32768,
        reload_s=0,
    )
    async with running(settings) as server:
        event_loop.spare_collector()
        model = server.repository.resolve(options.model, 0)

        async def measure(question: Answer) -> Answer:
            return await _measure(model, options.repository, question)

        await answering_async(measure)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.in_process")
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    event_loop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
