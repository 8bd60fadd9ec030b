"""The HTTP door's sockets: TLS, addresses, workers, age, and the end."""

import asyncio
import socket
import ssl
from collections import Counter

import httpx
import pytest
import trustme
from h2 import events

from serving.doors import secrets
from serving.doors.http.transport import listener
from serving.errors import StartupError
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support import http_calls, process, toy
from tests.support.http_calls import SERVICE
from tests.support.patience import SECONDS, until
from tests.support.raw_http import Raw, RawHttp2, post

pytestmark = pytest.mark.both_loops

PROTO = "content-type: application/proto"
SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def paths(tmp_path, authority):
    found = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    put(found, authority)
    return found


def put(paths, authority):
    issued = authority.issue_cert("localhost", "127.0.0.1")
    paths["tls_key"].write_bytes(issued.private_key_pem.bytes())
    paths["tls_certificate"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))


def trusting(authority, certificate=None):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if certificate:
        certificate.configure_cert(context)
    return context


async def asked(server, context, *, second=False):
    """The version of HTTP by which a new connection is answered."""
    async with httpx.AsyncClient(
        base_url=f"https://{server.http_address}",
        verify=context,
        http2=second,
        trust_env=False,
        timeout=SECONDS,
    ) as client:
        answer = await http_calls.connect(client, "Sample", SAMPLE)
        assert answer.status_code == 200
        return answer.http_version


async def test_tls_and_the_version_that_is_agreed_upon(settings, paths, authority):
    """ALPN chooses; plain text is not answered there."""
    async with running(settings.model_copy(update=paths)) as server:
        assert await asked(server, trusting(authority)) == "HTTP/1.1"
        assert await asked(server, trusting(authority), second=True) == "HTTP/2"
        async with await Raw.open(server) as plain:
            await plain.send(post(SERVICE + "Sample", SAMPLE, PROTO))
            assert b"HTTP/1.1 200" not in await plain.rest()


async def test_tls_with_clients_certificates(settings, tmp_path, paths, authority):
    """Who shows a certificate of the authority is answered, who shows none is not."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.cert_pem.bytes())
    async with running(settings.model_copy(update=paths | {"tls_client_ca": ca})) as server:
        own = authority.issue_cert("client@example.org")
        assert await asked(server, trusting(authority, own)) == "HTTP/1.1"
        with pytest.raises(httpx.TransportError):
            await asked(server, trusting(authority))


async def test_certificates_are_renewed(settings, paths, authority, monkeypatch):
    """For new connections; one that is there already goes on."""
    monkeypatch.setattr(secrets, "_LOOK_S", 0.02)
    newer = trustme.CA()
    async with (
        running(settings.model_copy(update=paths)) as server,
        httpx.AsyncClient(
            base_url=f"https://{server.http_address}", verify=trusting(authority), trust_env=False
        ) as kept,
    ):
        assert (await http_calls.connect(kept, "Sample", SAMPLE)).status_code == 200
        put(paths, newer)

        async def trusts_the_newer():
            try:
                return await asked(server, trusting(newer))
            except httpx.TransportError:
                return None

        async with asyncio.timeout(SECONDS):
            while not await trusts_the_newer():
                pass
        assert (await http_calls.connect(kept, "Sample", SAMPLE)).status_code == 200


async def test_who_does_not_shake_hands_is_counted_and_sent_away(settings, paths, monkeypatch, authority):
    """Such connections take no room for long, and no more than there is."""
    monkeypatch.setattr(listener, "_HANDSHAKE_S", 0.2)
    async with running(settings.model_copy(update=paths | {"max_connections": 2})) as server:
        silent = [await Raw.open(server) for _ in range(5)]
        await asyncio.gather(*(one.rest() for one in silent))  # the server has closed each
        for one in silent:
            one.writer.close()
        assert await asked(server, trusting(authority)) == "HTTP/1.1"


@pytest.mark.parametrize("flag", ["--http-address", "--address"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken(repository, flag, workers):
    """One line that names the flag; two servers never share a port in silence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, line = process.refused(repository, flag, address, "--workers", workers)
    assert code == 2
    assert f"{flag} {address}: cannot listen there; is the port taken?" in line


async def test_an_address_that_is_not_ours(settings):
    """The system's own word."""
    with pytest.raises(StartupError, match=r"--http-address 192.0.2.1:0: .*Cannot assign requested address"):
        async with running(settings.model_copy(update={"http_address": "192.0.2.1:0"})):
            pass


@pytest.mark.parametrize("host", ["localhost", "[::1]", "[::]", "0.0.0.0"])
async def test_hosts(settings, host):
    """Names, IPv6 and everything; "[::]" is for IPv4 as well, as gRPC has it."""
    async with running(settings.model_copy(update={"http_address": f"{host}:0"})) as server:
        port = server.http_address.rpartition(":")[2]
        assert server.http_address == f"{host}:{port}"
        for near in {"[::1]": ["[::1]"], "[::]": ["[::1]", "127.0.0.1"]}.get(host, ["127.0.0.1"]):
            async with httpx.AsyncClient(base_url=f"http://{near}:{port}", trust_env=False) as client:
                assert (await http_calls.connect(client, "Sample", SAMPLE)).status_code == 200


async def test_no_door_if_none_is_wanted(settings):
    """An empty address."""
    async with running(settings.model_copy(update={"http_address": ""})) as server:
        assert server.http_address == ""


def test_workers_share_the_port(repository):
    """Connections of their own are answered by both; the ready line names the port."""
    with process.serving(repository, "--workers", "2") as server:
        digests = set()
        for _ in range(20):
            url = f"http://{server.http_address}{SERVICE}ListModels"
            answer = httpx.post(url, json={}, trust_env=False, timeout=SECONDS)
            digests.add(answer.json()["models"][0]["model"]["digest"])
        assert len(digests) == 1
        assert server.terminate() == 0


@pytest.mark.parametrize("second", [False, True])
async def test_old_connections_end_with_an_answer(settings, second):
    """After --max-connection-age-s: nobody loses a request, and load balancers get their turn."""
    async with (
        running(settings.model_copy(update={"max_connection_age_s": 0.05})) as server,
        await Raw.open(server) as raw,
    ):
        if second:
            connection = RawHttp2(raw)
            await connection.start()
            last, answered = [], 0
            while not last:
                await connection.call(SERVICE + "Sample", SAMPLE)
                event = await connection.until(events.StreamEnded, events.ConnectionTerminated)
                answered += isinstance(event, events.StreamEnded)
                last = [
                    event
                    for event in (event, *connection.events)
                    if isinstance(event, events.ConnectionTerminated)
                ]
            assert answered
            assert last[0].error_code == 0
        else:
            headers = {}
            while "connection" not in headers:
                await raw.send(post(SERVICE + "Sample", SAMPLE, PROTO))
                status, headers, _ = await raw.answer()
                assert status == 200
            assert headers["connection"] == "close"
            assert await raw.rest() == b""


async def caller(client, codes, ended):
    while not ended.is_set():
        try:
            answer = await http_calls.connect(client, "Sample", SAMPLE)
        except httpx.ConnectError:
            codes["no connection"] += 1
            return
        codes[answer.status_code] += 1
        if answer.status_code == 503:
            assert answer.json()["code"] == "unavailable"


@pytest.mark.parametrize("second", [False, True])
async def test_a_server_that_stops_under_load_loses_nothing(settings, second):
    """Every call that was accepted is answered: with what was asked for, or 503 that nothing was begun.

    A caller whose connection closes in the moment in which it calls hears of it as of a connection that
    closes, before a byte of an answer.
    """
    codes, ended = Counter(), asyncio.Event()
    clients = []
    async with running(settings) as server:
        clients = [
            httpx.AsyncClient(
                base_url=http_calls.address(server),
                http1=not second,
                http2=second,
                trust_env=False,
                timeout=SECONDS,
            )
            for _ in range(8)
        ]
        callers = [asyncio.create_task(caller(client, codes, ended)) for client in clients for _ in range(4)]
        await until(lambda: codes[200] > 100)
    ended.set()
    heard = await asyncio.gather(*callers, return_exceptions=True)
    for client in clients:
        await client.aclose()
    gone = (httpx.ProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)
    assert all(one is None or isinstance(one, gone) for one in heard), heard
    assert set(codes) <= {200, 503, "no connection"}, codes
    counted = server.metrics.calls_by_code()
    assert counted["OK"] == codes[200]
    assert set(counted) <= {"OK", "UNAVAILABLE"}


async def test_calls_go_on_while_versions_are_replaced(settings, repository):
    """None fails, and in the end the newest answers."""
    async with running(settings) as server:
        codes, ended = Counter(), asyncio.Event()
        async with httpx.AsyncClient(
            base_url=http_calls.address(server), trust_env=False, timeout=SECONDS
        ) as client:
            callers = [asyncio.create_task(caller(client, codes, ended)) for _ in range(8)]
            for version in range(2, 6):
                toy.make_bundle(repository, version=version, seed=version)
                await until(lambda wanted=version: server.repository.models[0].version == wanted)
            ended.set()
            await asyncio.gather(*callers)
        assert set(codes) == {200}
