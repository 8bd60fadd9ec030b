"""A client process that is told what to send (``children.py``): raw bytes, so that it costs little itself."""

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu import servers
from benchmarks.gpu.children import Answer, answering_async
from serving.host import event_loop
from serving.pb.vae.v1 import vae_service_pb2 as pb

_DECODE = "/vae.v1.VaeService/Decode"
_WARM_UP, _SLOW_S = 3, 0.5
"""Rounds of requests, but no more of those that take so long."""
_UNLIMITED: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
]


class Load:
    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_UNLIMITED)
        self._call = self._channel.unary_unary(_DECODE)
        self._content = b""
        self._at_once = 1
        self._first: dict[int, bytes] = {}
        """The answer to the first request of a size."""

    async def __call__(self, question: Answer) -> Answer:
        answer: Answer = await getattr(self, question.pop("do"))(**question)
        return answer

    async def prepare(self, file: str, at_once: int, keep: str | None = None) -> Answer:
        """What is sent from now on, and how many at once; ``keep`` is where a reply is put."""
        self._content, self._at_once = _read(file), at_once
        began, rounds = time.monotonic(), 0
        while not rounds or (rounds < _WARM_UP and time.monotonic() - began < _SLOW_S):
            replies = await asyncio.gather(*(self._call(self._content) for _ in range(at_once)))
            rounds += 1
        if keep:
            _write(keep, replies[0])
        return {"reply_bytes": len(replies[0])}

    async def go(self, seconds: float) -> Answer:
        """A closed loop; what has been sent when the time is over is waited for, and counts."""
        began, cpu_s = time.monotonic(), time.process_time()
        times: list[float] = []

        async def caller() -> None:
            while time.monotonic() - began < seconds:
                sent = time.perf_counter()
                await self._call(self._content)
                times.append(time.perf_counter() - sent)

        await asyncio.gather(*(caller() for _ in range(self._at_once)))
        return {
            "calls": len(times),
            "began": began,
            "ended": time.monotonic(),
            "p50_ms": 1000 * statistics.median(times),
            "cpu_s": time.process_time() - cpu_s,
        }

    async def random(self, model: str, rows: str, calls: int, seed: int, compared: list[int]) -> Answer:
        """Requests of random sizes, and some of the sizes that are compared with their first answer."""
        latents = np.load(rows, mmap_mode="r")
        drawn, told = random.Random(seed), {"calls": 0, "rows": 0, "compared": 0, "equal": 0, "largest": 0.0}
        failures: list[str] = []

        async def one(size: int, compare: bool) -> None:
            form = "float32" if compare else drawn.choice(("uint8", "float32"))
            try:
                reply = await self._call(servers.decode_request(model, np.array(latents[:size]), form))
            except grpc.aio.AioRpcError as exc:
                failures.append(f"{size} rows: {exc.code().name}: {exc.details()}")
                return
            told["calls"] += 1
            told["rows"] += size
            if compare:
                first = self._first.setdefault(size, reply)
                told["compared"] += 1
                told["equal"] += first == reply
                if first != reply:
                    told["largest"] = max(told["largest"], _difference(first, reply))

        async def caller(share: int) -> None:
            for _ in range(share):
                compare = drawn.random() < 1 / 8
                size = drawn.choice(compared) if compare else round(len(latents) ** drawn.random())
                await one(size, compare)

        shares = [calls // self._at_once + (place < calls % self._at_once) for place in range(self._at_once)]
        await asyncio.gather(*(caller(share) for share in shares))
        return told | {"failures": len(failures), "first_failures": failures[:5]}

    async def at_once(self, count: int) -> Answer:
        self._at_once = count
        return {}


def _read(file: str) -> bytes:
    return Path(file).read_bytes()


def _write(file: str, content: bytes) -> None:
    Path(file).write_bytes(content)


def _difference(first: bytes, second: bytes) -> float:
    one, other = (_images(reply) for reply in (first, second))
    return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")


def _images(reply: bytes) -> NDArray[np.float32]:
    tensor = pb.DecodeResponse.FromString(reply).images.tensor
    return np.frombuffer(tensor.data, "<f4").reshape(tuple(tensor.shape))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.load")
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port

    async def answer() -> None:
        await answering_async(Load(port))

    event_loop.run(answer())


if __name__ == "__main__":
    main()
