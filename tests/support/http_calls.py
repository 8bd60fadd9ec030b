"""Calls over HTTP as the protocols have them, written by hand: no client of ours is in between."""

import base64
import json
import struct
from typing import Any

import httpx

from serving.metrics.http_refusals import HTTP_REFUSALS
from tests.support.patience import SECONDS

PREFIX = struct.Struct(">BI")
SERVICE = "/vae.v1.VaeService/"
PROTO = {"content-type": "application/proto"}
JSON = {"content-type": "application/json"}


def address(server: Any) -> str:
    return f"http://{server.http_address}"


def client(server: Any, version: str = "HTTP/1.1") -> httpx.AsyncClient:
    """Of one version of HTTP, "HTTP/1.1" or "HTTP/2", and no other."""
    second = version == "HTTP/2"
    return httpx.AsyncClient(
        base_url=address(server), http1=not second, http2=second, timeout=SECONDS, trust_env=False
    )


def refusals(server: Any) -> dict[str, float]:
    """How often, by reason; each reason there is has a series from the start, and there are no others."""
    (family,) = [found for found in server.metrics.registry.collect() if found.name == "vae_http_refused"]
    counted = {sample.labels["reason"]: sample.value for sample in family.samples}
    assert set(counted) == set(HTTP_REFUSALS)
    return {reason: value for reason, value in counted.items() if value}


def envelope(message: bytes, flags: int = 0) -> bytes:
    return PREFIX.pack(flags, len(message)) + message


def envelopes(body: bytes) -> list[tuple[int, bytes]]:
    """Flags and messages of a body."""
    found, at = [], 0
    while at < len(body):
        flags, size = PREFIX.unpack_from(body, at)
        found.append((flags, body[at + PREFIX.size : at + PREFIX.size + size]))
        at += PREFIX.size + size
    return found


async def connect(client: httpx.AsyncClient, method: str, message: bytes, **headers: str) -> httpx.Response:
    return await client.post(SERVICE + method, content=message, headers=PROTO | headers)


async def connect_json(
    client: httpx.AsyncClient, method: str, message: Any, **headers: str
) -> httpx.Response:
    content = message if isinstance(message, bytes) else json.dumps(message).encode()
    return await client.post(SERVICE + method, content=content, headers=JSON | headers)


async def connect_stream(
    client: httpx.AsyncClient, method: str, message: bytes, form: str = "proto", **headers: str
) -> tuple[list[bytes], dict[str, Any]]:
    """Messages, and what the last envelope says."""
    kind = {"content-type": f"application/connect+{form}"}
    response = await client.post(SERVICE + method, content=envelope(message), headers=kind | headers)
    assert response.status_code == 200, response.text
    *messages, (flags, last) = envelopes(response.content)
    assert flags == 2
    assert {flag for flag, _ in messages} <= {0}
    return [message for _, message in messages], json.loads(last)


async def grpc_web(
    client: httpx.AsyncClient, method: str, message: bytes, *, text: bool = False, **headers: str
) -> tuple[list[bytes], dict[str, str]]:
    """Messages and trailers."""
    kind = {"content-type": f"application/grpc-web{'-text' if text else ''}+proto"}
    content = base64.b64encode(envelope(message)) if text else envelope(message)
    response = await client.post(SERVICE + method, content=content, headers=kind | headers)
    assert response.status_code == 200, response.text
    *messages, (flags, last) = envelopes(_without_base64(response.content) if text else response.content)
    assert flags == 0x80
    trailers = dict(line.split(": ", 1) for line in last.decode().splitlines())
    return [message for _, message in messages], trailers


def _without_base64(content: bytes) -> bytes:
    """Of pieces that each end with their padding."""
    decoded, at = b"", 0
    while at < len(content):
        end = at + 4
        while end < len(content) and content[end - 1 : end] != b"=":
            end += 4
        decoded += base64.b64decode(content[at:end])
        at = end
    return decoded
