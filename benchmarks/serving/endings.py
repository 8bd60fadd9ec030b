"""Stops and reloads under load, on both doors: is a request lost that was accepted, does one fail?

``python -m benchmarks.serving.endings --stops 100 --reloads 200``
"""

import argparse
import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from benchmarks.serving.models import make_repository, seal_version
from benchmarks.serving.servers import Vaeserve, vaeserve
from serving.pb.vae.v1 import vae_service_pb2 as pb

_PATH = "/vae.v1.VaeService/Sample"
_SAMPLE = pb.SampleRequest(model={"name": "mlp"}, count=1, seed=1).SerializeToString()
_CALLERS = 16
"""Of each door."""
_LOAD_S = 0.3
"""Once both doors have answered."""
_ANSWER_S = 30.0
_STOPPED = re.compile(r"stopped; calls since the start: (.*)")
_RELOADED = re.compile(r"model mlp: in service now \d+, before")
_TIMEOUT_S = 30.0

Caller = Callable[[int, Counter[str], asyncio.Event], Awaitable[None]]


async def by_grpc(port: int, codes: Counter[str], ended: asyncio.Event) -> None:
    """Calls until the end, each time that it has heard."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        call = channel.unary_unary(_PATH)
        while not ended.is_set():
            try:
                await call(_SAMPLE, timeout=_TIMEOUT_S)
                codes["OK"] += 1
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
                await asyncio.sleep(0.001)


async def by_http(port: int, codes: Counter[str], ended: asyncio.Event) -> None:
    """The same; a connection that ends without a byte of an answer is UNAVAILABLE, as gRPC says it."""
    head = f"POST {_PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/proto\r\n"
    request = head.encode() + b"content-length: %d\r\n\r\n" % len(_SAMPLE) + _SAMPLE
    while not ended.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            codes["UNAVAILABLE"] += 1
            await asyncio.sleep(0.001)
            continue
        try:
            while not ended.is_set():
                writer.write(request)
                if not await _answer(reader, codes):
                    break
        finally:
            writer.transport.abort()


async def _answer(reader: asyncio.StreamReader, codes: Counter[str]) -> bool:
    """Count one; whether the connection goes on."""
    try:
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _TIMEOUT_S)).decode("latin-1").lower()
    except (asyncio.IncompleteReadError, ConnectionError) as exc:
        partial = getattr(exc, "partial", b"")
        codes["BROKEN" if partial else "UNAVAILABLE"] += 1
        return False
    length = re.search(r"content-length: (\d+)", head)
    try:
        body = await reader.readexactly(int(length[1]) if length else 0)
    except (asyncio.IncompleteReadError, ConnectionError):
        codes["BROKEN"] += 1
        return False
    status = int(head.split()[1])
    codes["OK" if status == 200 else json.loads(body)["code"].upper()] += 1
    return "connection: close" not in head


async def _under_load(
    server: Vaeserve, do: Callable[[], Awaitable[None]]
) -> tuple[Counter[str], Counter[str]]:
    """What callers of either door heard while something was done."""
    heard: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    ended = asyncio.Event()
    doors: list[tuple[Caller, int, Counter[str]]] = [
        (by_grpc, server.port, heard[0]),
        (by_http, server.http_port, heard[1]),
    ]
    callers = [
        asyncio.ensure_future(caller(port, codes, ended))
        for caller, port, codes in doors
        for _ in range(_CALLERS)
    ]
    async with asyncio.timeout(_ANSWER_S):
        while not all(codes["OK"] for codes in heard):  # noqa: ASYNC110  # an event would cost every call
            await asyncio.sleep(0.01)
    await asyncio.sleep(_LOAD_S)
    await do()
    ended.set()
    await asyncio.gather(*callers)
    return heard


def stop_once(repository: Path, log_file: Path) -> list[str]:
    """What went wrong in one stop."""
    with vaeserve(repository, log_file, "--reload-s=0") as server:
        process = server.process.process

        async def stop() -> None:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 60)

        heard = asyncio.run(_under_load(server, stop))
    said = _STOPPED.search(log_file.read_text())
    counted = dict(part.split("=") for part in said[1].split()) if said else {}
    answered = heard[0]["OK"] + heard[1]["OK"]
    problems = [] if process.returncode == 0 else [f"exit code {process.returncode}"]
    if int(counted.get("OK", -1)) != answered:
        problems.append(f"the server answered {counted.get('OK')}, callers have {answered}")
    for door, codes in zip(("gRPC", "HTTP"), heard, strict=True):
        if others := set(codes) - {"OK", "UNAVAILABLE"}:
            problems.append(f"{door}: {', '.join(f'{code}={codes[code]}' for code in sorted(others))}")
        if not codes["OK"]:
            problems.append(f"{door}: no call was answered")
    return problems


def reload_under_load(repository: Path, log_file: Path, reloads: int) -> list[str]:
    """What went wrong in so many."""
    model = repository / "mlp"
    with vaeserve(repository, log_file, "--reload-s=0.02") as server:

        async def put() -> None:
            for version in range(2, reloads + 2):
                await asyncio.to_thread(seal_version, repository, "mlp", version)
                while _reloads(log_file) < version - 1:  # noqa: ASYNC110  # another process's log
                    await asyncio.sleep(0.01)
                shutil.rmtree(model / str(version - 1))

        heard = asyncio.run(_under_load(server, put))
    sys.stdout.write(f"{reloads} reloads: gRPC {dict(heard[0])}, HTTP {dict(heard[1])}\n")
    return [f"{codes}" for codes in heard if set(codes) != {"OK"}]


def _reloads(log_file: Path) -> int:
    return len(_RELOADED.findall(log_file.read_text()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.serving.endings", description=__doc__)
    parser.add_argument("--stops", type=int, default=100)
    parser.add_argument("--reloads", type=int, default=200)
    options = parser.parse_args()
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        repository = make_repository(Path(folder, "models"))
        for number in range(options.stops):
            found = stop_once(repository, Path(folder, f"stop{number}.log"))
            problems += [f"stop {number + 1}: {problem}" for problem in found]
        sys.stdout.write(f"{options.stops} stops, {len(problems)} problems\n")
        if options.reloads:
            problems += reload_under_load(repository, Path(folder, "reload.log"), options.reloads)
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
