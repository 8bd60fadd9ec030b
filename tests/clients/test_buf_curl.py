"""buf curl: every protocol that there is, in one program."""

import json
import os
from dataclasses import dataclass

import pytest

from tests.clients import installed, shell_calls
from tests.clients.asking import output_of
from tests.clients.shell_calls import Answer, values
from tests.clients.witness import Json, check

pytestmark = pytest.mark.slow

SERVICE = "vae.v1.VaeService"
SCHEMA = ("--schema", str(installed.ROOT / "protos"))
DEADLINE_MS = 4000
"""From the program's start, with the protos to be read."""
WAYS = {
    "grpc": ("grpc", "--protocol", "grpc"),
    "grpc, schema": ("grpc", "--protocol", "grpc", *SCHEMA),
    "connect 1.1": ("http", *SCHEMA),
    "connect 2": ("http", "--http2-prior-knowledge", *SCHEMA),
    "grpc-web 1.1": ("http", "--protocol", "grpcweb", *SCHEMA),
    "grpc-web 2": ("http", "--protocol", "grpcweb", "--http2-prior-knowledge", *SCHEMA),
}


@dataclass
class Buf(shell_calls.Shell):
    program: str
    address: str
    flags: tuple[str, ...]

    def command(self, method: str, request: Json) -> list[str]:
        return self._command(method, json.dumps(request))

    def _command(self, method: str, data: str) -> list[str]:
        address = f"{self.address}/{SERVICE}/{method}"
        return [self.program, "curl", *self.flags, "--data", data, address]

    async def call(self, method: str, request: Json, *, timeout_ms: int | None = None) -> Answer:
        command = self._command(method, "@-")
        if timeout_ms:
            command += ["--timeout", f"{timeout_ms}ms", "--output", os.devnull]
        code, written, complaint = await output_of(*command, stdin=json.dumps(request).encode())
        assert bool(code) == bool(complaint), complaint
        return values(written.decode()), values(complaint)[0] if code else None


@pytest.mark.parametrize("way", WAYS)
async def test_buf_curl(witness_of, way):
    """Every protocol shows what gRPC shows, by reflection where gRPC is spoken, by the protos elsewhere."""
    buf = installed.find("buf")
    door, *flags = WAYS[way]
    truth = await witness_of(door)
    address = truth.task["address"]
    shell = Buf(buf, address if "//" in address else f"http://{address}", tuple(flags))
    task = truth.task | {"deadlineMs": DEADLINE_MS}
    check(await shell_calls.calls(shell, task), truth.truth)
    await truth.settled()


async def test_without_a_schema_it_wants_the_grpc_door(server):
    """Reflection is there, and not at the HTTP door."""
    buf = installed.find("buf")
    told = []
    for address in (server.grpc_address, server.http_address):
        flags = ("--protocol", "grpc") if address == server.grpc_address else ()
        code, written, complaint = await output_of(
            buf, "curl", *flags, "--list-services", f"http://{address}"
        )
        told.append((code, SERVICE in written.decode(), bool(complaint)))
    assert told == [(0, True, False), (1, False, True)]
