"""DNS rebinding: a door that only this machine reaches, without a token, answers no stranger's name."""

import asyncio
import base64
import ssl

import httpx
import pytest
import trustme
from h2 import events

from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support import http_calls
from tests.support.http_calls import SERVICE, envelope
from tests.support.patience import SECONDS
from tests.support.raw_http import Raw, RawHttp2

SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()
EVERYTHING = (
    ("GET", "/"),
    ("GET", "/explorer/main.js"),
    ("GET", "/explorer/metrics"),
    ("POST", "/explorer/walk.gif"),
    ("POST", SERVICE + "Sample"),
    ("GET", SERVICE + "ListModels?encoding=json&message={}"),
    ("GET", "/openapi.json"),
    ("GET", "/v2/health/live"),
    ("POST", "/v2/models/toy/encoder/infer"),
    ("OPTIONS", SERVICE + "Sample"),
    ("GET", "/nothing"),
    ("HEAD", "/"),
)
STRANGE = ("evil.example", "evil.example:8080", "localhost.evil.example", "user@localhost")


async def status_of(server, head: str) -> tuple[int, bytes]:
    async with await Raw.open(server) as raw:
        await raw.send(head.encode())
        if head.startswith("HEAD"):
            line = await asyncio.wait_for(raw.reader.readline(), SECONDS)
            return int(line.split()[1]), b""
        status, _, body = await raw.answer()
    return status, body


def request(method: str, path: str, *headers: str) -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", *headers, "content-length: 0", "", ""])


@pytest.mark.parametrize("host", STRANGE)
@pytest.mark.parametrize(("method", "path"), EVERYTHING, ids=[f"{m} {p}" for m, p in EVERYTHING])
async def test_strangers_are_refused_everywhere(server, method, path, host):
    """421 at every address, found or not, with the name that came and the setting that lets one in."""
    status, body = await status_of(server, request(method, path, f"host: {host}"))
    assert status == 421
    if method != "HEAD":
        assert (
            f"host: want localhost, an IP address or a name of --http-hosts, came '{host}'".encode() in body
        )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "a.localhost", "127.0.0.1", "[::1]:8080", "192.168.1.2"]
)
async def test_our_own_are_answered(server, host):
    """By whatever port a tunnel has given it: kubectl port-forward, ssh -L, a container's."""
    assert (await status_of(server, request("GET", "/", f"host: {host}")))[0] == 200


async def test_no_host_is_no_browser(server):
    """HTTP/1.0 has none; an empty one is of a client that has no name for us."""
    async with await Raw.open(server) as raw:
        await raw.send(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 200")
    assert (await status_of(server, request("GET", "/v2/health/live", "host:")))[0] == 200


async def test_the_name_may_be_in_the_target(server):
    """An address with scheme and host: it counts, whatever Host says (RFC 9112, section 3.2.2)."""
    for target, host, wanted in (
        ("http://evil.example/", "localhost", 421),
        ("http://evil.example/v2", "evil.example", 421),
        ("http://localhost/", "evil.example", 200),
    ):
        status, body = await status_of(server, request("GET", target, f"host: {host}"))
        assert status == wanted
        assert (b"<!doctype html>" in body.lower()) == (wanted == 200)


async def test_two_names(server):
    """A second Host beside a good one is no HTTP."""
    assert (await status_of(server, request("GET", "/", "host: localhost", "host: evil.example")))[0] == 400


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({":authority": "evil.example"}, "421"),
        ({":authority": "localhost:1"}, "200"),
        ({":authority": "[::1]"}, "200"),
        ({":authority": "localhost", "host": "evil.example"}, None),
        ({":authority": "evil.example", "host": "localhost"}, None),
        ({"host": "evil.example"}, "421"),
    ],
    ids=str,
)
async def test_http2(server, fields, status):
    """:authority is its Host; where both are there and differ, it is no HTTP/2."""
    async with await Raw.open(server) as raw:
        second = RawHttp2(raw)
        second.h2.config.validate_outbound_headers = False
        second.h2.config.normalize_outbound_headers = False
        await second.start()
        number = second.h2.get_next_available_stream_id()
        head = {":method": "GET", ":path": "/v2/health/live", ":scheme": "http", **fields}
        second.h2.send_headers(number, list(head.items()), end_stream=True)
        await second.flush()
        event = await second.until(events.ResponseReceived, events.ConnectionTerminated, events.StreamReset)
    if status is None:
        assert not isinstance(event, events.ResponseReceived)
    else:
        assert dict(event.headers)[b":status"].decode() == status


async def test_other_protocols_are_told_as_they_understand(server):
    """gRPC-Web and Connect streams: an error of HTTP itself, which their clients have words for."""
    async with httpx.AsyncClient(base_url=http_calls.address(server), trust_env=False) as client:
        for kind, content in (
            ("application/grpc-web+proto", envelope(SAMPLE)),
            ("application/grpc-web-text", base64.b64encode(envelope(SAMPLE))),
            ("application/connect+proto", envelope(SAMPLE)),
        ):
            headers = {"content-type": kind, "host": "evil.example"}
            answer = await client.post(SERVICE + "Sample", content=content, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (421, "permission_denied")
        answer = await client.get("/v2/models/toy", headers={"host": "evil.example"})
        assert (answer.status_code, list(answer.json())) == (421, ["error"])


async def asked(settings, host, **changes) -> int:
    async with running(settings.model_copy(update=changes)) as server:
        return (await status_of(server, request("GET", "/v2/health/live", f"host: {host}")))[0]


async def test_names_that_are_let_in(settings):
    """Those of --http-hosts, and of pages that may call; * is for all."""
    assert await asked(settings, "vae.example", http_hosts=("vae.example",)) == 200
    assert await asked(settings, "other.example", http_hosts=("vae.example",)) == 421
    assert await asked(settings, "vae.example:99", http_hosts=("*",)) == 200
    assert await asked(settings, "app.example", cors_origins=("http://app.example:3000",)) == 200
    assert await asked(settings, "other.example", cors_origins=("http://app.example:3000",)) == 421
    assert await asked(settings, "other.example", cors_origins=("*",)) == 200


async def test_where_strangers_cannot_call(settings, tmp_path):
    """Behind a token every name is answered; and where others reach the door, names are theirs to choose."""
    token = tmp_path / "token"
    token.write_text("secret")
    assert await asked(settings, "vae.example", auth_token_file=token) == 200
    async with running(settings.model_copy(update={"http_address": "0.0.0.0:0"})) as server:
        port = server.http_address.rpartition(":")[2]
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{port}/v2/health/live"
            assert (await client.get(url, headers={"host": "vae.example"})).status_code == 200


async def test_with_tls_the_certificate_says_who_we_are(settings, tmp_path):
    """No browser takes it for a stranger's name, so ours may be any."""
    authority = trustme.CA()
    issued = authority.issue_cert("vae.example", "127.0.0.1")
    paths = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    issued.private_key_pem.write_to_path(paths["tls_key"])
    paths["tls_certificate"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with (
        running(settings.model_copy(update=paths)) as server,
        httpx.AsyncClient(verify=context, trust_env=False) as client,
    ):
        url = f"https://{server.http_address}/"
        assert (await client.get(url, headers={"host": "vae.example"})).status_code == 200


async def test_names_asked_for_elsewhere_hold_there(settings):
    """As in a container that is published on loopback only."""
    wanted = settings.model_copy(update={"http_address": "0.0.0.0:0", "http_hosts": ("localhost", "server")})
    async with running(wanted) as server, httpx.AsyncClient(trust_env=False) as client:
        url = f"http://127.0.0.1:{server.http_address.rpartition(':')[2]}/v2/health/live"
        for host, status in (
            ("server:8080", 200),
            ("localhost", 200),
            ("127.0.0.1", 200),
            ("evil.example", 421),
        ):
            assert (await client.get(url, headers={"host": host})).status_code == status
