"""The same graphs behind our server on loopback, and the round trip that gRPC alone takes."""

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu import card
from benchmarks.serving.processes import ServerProcess, free_port, running, wait_for_port
from benchmarks.serving.servers import vaeserve
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.runtime.providers import ProviderName
from serving.wire.tensors import from_array

_START_S = 300.0
_MAX_MESSAGE_MIB = 2000
_LARGEST_MESSAGE = 512 << 20
"""Of a reply; a request of more rows is sent as several at once."""
_WARM_UP = 3
_MEMORY_EVERY = 500
"""Requests between two looks at the memory."""


@dataclass(frozen=True)
class Served:
    network: str
    rows: int
    """In flight, in all requests together."""
    requests_at_once: int
    rows_per_s: float
    p50_ms: float


@dataclass(frozen=True)
class Memory:
    requests: int
    server_mib: float
    card_mib: float | None
    """In use by all programs; None without a card."""


Call = Callable[[bytes], Awaitable[bytes]]


@contextlib.contextmanager
def server(
    repository: Path, provider: ProviderName, log: Path, max_batch_rows: int
) -> Iterator[tuple[ServerProcess, int]]:
    """It warms up with its largest batch: the card must hold that."""
    flags = (
        f"--provider={provider}",
        f"--max-batch-rows={max_batch_rows}",
        f"--max-message-mib={_MAX_MESSAGE_MIB}",
    )
    with vaeserve(repository, log, *flags, start_s=_START_S) as started:
        yield started.process, started.port


@contextlib.contextmanager
def echo(reply: bytes, folder: Path) -> Iterator[int]:
    """gRPC alone, with a canned reply."""
    file, port = folder / "reply", free_port()
    file.write_bytes(reply)
    command = [
        sys.executable, "-m", "benchmarks.serving.bare", "--style=aio", "--loop=uvloop",
        f"--port={port}", f"--reply={file}",
    ]  # fmt: skip
    with running(command, folder / "echo.log") as process:
        wait_for_port(process, port, _START_S)
        yield port


def request(network: str, latents: NDArray[np.float32]) -> bytes:
    """A Decode of so many rows, as 8-bit images: float32 of 512×512 would be 3 MiB each."""
    message = pb.DecodeRequest(
        model=models_pb2.ModelRef(name=network),
        latents=from_array(latents),
        image_format=tensors_pb2.IMAGE_FORMAT_UINT8,
    )
    return message.SerializeToString()


async def throughput(
    port: int, network: str, latents: NDArray[np.float32], pixels: int, seconds: float
) -> Served:
    """Two sets of these rows in flight, so that the card has work while the other's replies are sent."""
    rows = len(latents)
    each = max(1, min(rows, _LARGEST_MESSAGE // pixels))
    at_once = 2 * max(1, rows // each)
    content = request(network, latents[:each])
    async with _decode(port) as call:
        for _ in range(_WARM_UP):
            await call(content)
        start = time.perf_counter()
        times: list[float] = []

        async def caller() -> None:
            while time.perf_counter() - start < seconds:
                sent = time.perf_counter()
                await call(content)
                times.append(time.perf_counter() - sent)

        await asyncio.gather(*(caller() for _ in range(at_once)))
        took = time.perf_counter() - start
    p50 = 1000 * statistics.median(times)
    return Served(network, each * at_once, at_once, len(times) * each / took, p50)


async def alone(port: int, content: bytes, requests: int = 300) -> tuple[float, bytes]:
    """Median milliseconds of one request at a time, and the last reply."""
    async with _decode(port) as call:
        times = []
        for _ in range(requests):
            sent = time.perf_counter()
            reply = await call(content)
            times.append(time.perf_counter() - sent)
    return 1000 * statistics.median(times), reply


async def memory(
    process: ServerProcess, port: int, network: str, latents: NDArray[np.float32], requests: int
) -> AsyncIterator[Memory]:
    """Before, and while requests of random sizes come, from one row to all of ``latents``."""
    rng = np.random.default_rng(0)
    async with _decode(port) as call:
        for done in range(requests + 1):
            if done % _MEMORY_EVERY == 0:
                yield Memory(done, process.usage().rss_mib, _card_mib())
            await call(request(network, latents[: int(rng.integers(1, len(latents) + 1))]))


@contextlib.asynccontextmanager
async def _decode(port: int) -> AsyncIterator[Call]:
    unlimited: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=unlimited) as channel:
        yield channel.unary_unary("/vae.v1.VaeService/Decode")


def _card_mib() -> float | None:
    try:
        return float(card.query("memory.used")[0])
    except (OSError, subprocess.CalledProcessError):
        return None
