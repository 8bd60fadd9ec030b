"""What every client is asked to show, with a program that makes one call and prints JSON."""

import asyncio
import json
import os
import signal
from abc import ABC, abstractmethod

from tests.clients.witness import Json
from tests.support import patience

Answer = tuple[list[Json], Json | None]
"""The messages, and the error if there is one."""


class Shell(ABC):
    """A program that makes calls."""

    @abstractmethod
    async def call(self, method: str, request: Json, *, timeout_ms: int | None = None) -> Answer:
        """One call of any kind."""

    @abstractmethod
    def command(self, method: str, request: Json) -> list[str]:
        """A call, to be started and left."""


async def calls(shell: Shell, task: Json) -> Json:
    """What ``witness.check`` looks at."""
    seed = {"seed": task["seed"]}
    endless = {"sample": {"count": task["endlessRows"], **seed}}
    ten = {"sample": {"count": task["streamRows"], **seed}, "rowsPerResponse": task["rowsPerResponse"]}
    images, latents = (
        {"dtype": "DATA_TYPE_FLOAT32", "shape": task[f"{name}Shape"], "data": task[key]}
        for name, key in (("image", "images"), ("latent", "latents"))
    )

    async def one(method: str, request: Json) -> Json:
        (message,), error = await shell.call(method, request)
        assert error is None
        return message

    async def error_of(method: str, request: Json, timeout_ms: int | None = None) -> Json:
        _, error = await shell.call(method, request, timeout_ms=timeout_ms)
        assert error
        details = [[detail["type"], detail["value"]] for detail in error.get("details", ())]
        return error | {"details": details}

    async def names() -> list[str]:
        return [model["model"]["name"] for model in (await one("ListModels", {}))["models"]]

    models = await names()
    sample = await one("Sample", {"count": task["count"], **seed})
    encoded = await one("Encode", {"images": {"tensor": images}})
    decoded = await one("Decode", {"latents": latents})
    parts, error = await shell.call("SampleStream", ten)
    assert error is None
    missing = {"model": {"name": task["nobody"]}, "count": 1, **seed}
    return {
        "models": models,
        "digest": sample["model"]["digest"],
        "seed": sample["seed"],
        "images": sample["images"]["tensor"]["data"],
        "mean": encoded["mean"]["data"],
        "logVar": encoded["logVar"]["data"],
        "decoded": decoded["images"]["tensor"]["data"],
        "firstRows": [int(part.get("firstRow", 0)) for part in parts],
        "streamed": [part["images"]["tensor"]["data"] for part in parts],
        "missing": await error_of("Sample", missing),
        "wrong": await error_of("Sample", {"count": 0}),
        "late": await error_of("SampleStream", endless, task["deadlineMs"]),
        "left": {"code": "none", "messages": await left(shell.command("SampleStream", endless))},
        "afterwards": await names(),
    }


async def left(command: list[str]) -> int:
    """Wait for the first of the answer, then go, as with Ctrl-C; how often it came."""
    program = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
    )
    assert program.stdout
    try:
        async with asyncio.timeout(patience.SECONDS):
            first = await program.stdout.readexactly(1000)
    finally:
        os.killpg(program.pid, signal.SIGINT)  # npm's programs are two processes
        await program.communicate()
    return int(bool(first))


def values(text: str) -> list[Json]:
    """JSON documents, one after the other."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found
