"""Runs a client as a program of its own: it is given a task and says what it saw."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from tests.clients.witness import Json
from tests.support import patience


@contextlib.asynccontextmanager
async def asking(command: list[str], cwd: Path, task: Json, **variables: str) -> AsyncIterator[Json]:
    """What the client saw, while it is still alive: a call that it left open is open."""
    client = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env=os.environ | variables,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 << 20,
    )
    assert client.stdin
    assert client.stdout
    try:
        client.stdin.write(json.dumps(task).encode() + b"\n")
        async with asyncio.timeout(patience.SECONDS):
            line = await client.stdout.readline()
        assert line, f"it said nothing and ended with {await client.wait()}"
        seen = json.loads(line)
        assert "failed" not in seen, seen["failed"]
        yield seen
        client.stdin.close()
        async with asyncio.timeout(patience.SECONDS):
            assert await client.wait() == 0
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()


async def output_of(*command: str, cwd: Path | None = None, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """Of a program that ends by itself: exit code, what it wrote, what it complained of."""
    program = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(patience.SECONDS):
            written, complaint = await program.communicate(stdin)
    finally:
        if program.returncode is None:
            os.killpg(program.pid, signal.SIGKILL)  # npm's programs are two processes
            await program.wait()
    assert program.returncode is not None
    return program.returncode, written, complaint.decode()
