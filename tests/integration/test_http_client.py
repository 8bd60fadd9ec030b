"""The clients over HTTP with real servers: restarts, TLS, wrong ports, proxies, copies of processes."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
import trustme

from serving.client import AsyncClient, Client, VaeError
from serving.client.http import blocking_connection, http_asyncio, http_blocking
from serving.client.transports import retries
from serving.server import running
from tests.support import patience, toy
from tests.support.both_clients import Asyncio, Blocking
from tests.support.http_peer import answering, models, peer
from tests.support.process import serving


@pytest.fixture(params=[Blocking, Asyncio])
def calls(request):
    """Both clients behave the same."""
    return request.param


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Between attempts."""
    monkeypatch.setattr(retries, "FIRST_PAUSE_S", 0.001)


async def refused(calls, address, said, **options):
    with pytest.raises(VaeError, match=said) as caught:
        await asyncio.to_thread(calls.do, address, "models", **options)
    assert "\n" not in str(caught.value)
    return caught.value.code.name


async def test_a_server_that_is_started_anew(settings):
    """Clients that outlive their server go on with the next one at its address, and say so while there is none."""
    async with running(settings) as server:
        address = server.http_address
        asynchronous, blocking = AsyncClient(f"http://{address}"), Client(f"http://{address}")
        assert await asynchronous.models() == await asyncio.to_thread(blocking.models)
    with pytest.raises(VaeError, match=r"UNAVAILABLE: http://.*: cannot be reached: Connection refused"):
        await asynchronous.models()
    with pytest.raises(VaeError, match=r"UNAVAILABLE: http://.*: cannot be reached: Connection refused"):
        await asyncio.to_thread(blocking.models)
    async with running(settings.model_copy(update={"http_address": address})):
        assert await asynchronous.models() == await asyncio.to_thread(blocking.models)
    await asynchronous.close()
    blocking.close()


def ended(server):
    return {
        code: count.value
        for (_, method, _, code), count in server.metrics.requests.items()
        if method == "SampleStream" and count.value
    }


async def test_a_stream_that_is_left_early_ends_at_the_server(server):
    """Closed, dropped or cancelled: the server stops drawing, and the client goes on to be of use."""
    url = f"http://{server.http_address}"

    def leave():
        with Client(url) as client:
            for _ in client.sample_stream("toy", 10**9):
                break
            next(client.sample_stream("toy", 10**9))
            assert client.models()

    await asyncio.to_thread(leave)
    async with AsyncClient(url) as client:
        stream = client.sample_stream("toy", 10**9)
        await anext(stream)
        await stream.aclose()

        async def read():
            async for _ in client.sample_stream("toy", 10**9):
                begun.set()

        begun = asyncio.Event()
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.models()
    await patience.until(lambda: sum(ended(server).values()) == 4)
    assert ended(server) == {"CANCELLED": 4}


async def test_large_messages(repository, settings, tmp_path):
    """Requests and answers of many MiB are those of gRPC, bit for bit; beyond the server's limit both say the same."""
    toy.make_bundle(tmp_path / "large", "toy", image_shape=(1, 64, 64))
    chosen = settings.model_copy(
        update={"repository": tmp_path / "large", "max_rows": 4000, "max_message_mib": 24}
    )
    images = np.random.default_rng(0).random((1500, 1, 64, 64), np.float32)
    async with running(chosen) as server:
        answers, refusals = [], []
        for address in (server.grpc_address, f"http://{server.http_address}"):
            for calls in (Blocking, Asyncio):
                answers.append(await asyncio.to_thread(calls.do, address, "reconstruct", "toy", images))
                with pytest.raises(VaeError) as caught:
                    await asyncio.to_thread(calls.do, address, "encode", "toy", [bytes(25 << 20)])
                refusals.append(caught.value.code)
    assert set(refusals) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    for answer in answers:
        np.testing.assert_array_equal(answer.images, answers[0].images)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


async def test_tls(settings, tmp_path, authority, calls):
    """The authority's certificate is enough; without it, or with the wrong scheme, the line says what to do."""
    certificate, root = authority.issue_cert("localhost", "127.0.0.1"), tmp_path / "root.pem"
    authority.cert_pem.write_to_path(root)
    paths = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    certificate.private_key_pem.write_to_path(paths["tls_key"])
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(paths["tls_certificate"], append=True)
    async with running(settings.model_copy(update=paths)) as server:
        port = server.http_address.rpartition(":")[2]
        for host in ("localhost", "127.0.0.1"):
            found = await asyncio.to_thread(
                calls.do, f"https://{host}:{port}", "models", root_certificate=root
            )
            assert [model.name for model in found] == ["toy"]
        images = np.zeros((300, *toy.IMAGE_SHAPE), np.float32).repeat(200, axis=1)
        with pytest.raises(VaeError, match=r"INVALID_ARGUMENT: images\.tensor\.shape"):
            await asyncio.to_thread(
                calls.do, f"https://localhost:{port}", "encode", "toy", images, root_certificate=root
            )
        assert (
            await refused(calls, f"https://localhost:{port}", "certificate cannot be verified")
            == "UNAVAILABLE"
        )
        await refused(
            calls, f"http://localhost:{port}", "its address begins with https://|connection was lost"
        )


async def test_ports_that_speak_otherwise(server, calls):
    """gRPC's port by HTTP, HTTP's by gRPC, TLS to a port without it: each error says what the address should be."""
    code = await refused(
        calls, f"http://{server.grpc_address}", r"gRPC port: its address is written host:port"
    )
    assert code == "UNKNOWN"
    await refused(calls, server.http_address, r"HTTP port, its address begins with http://")
    await refused(calls, f"https://{server.http_address}", r"no TLS: .*http:// and not https://")
    with answering(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n") as served:
        await refused(calls, served.address, r"its address begins with http://", timeout_s=5)


async def test_ipv6(settings, calls):
    """An address in brackets."""
    async with running(settings.model_copy(update={"http_address": "[::1]:0"})) as server:
        found = await asyncio.to_thread(calls.do, f"http://{server.http_address}", "models")
    assert [model.name for model in found] == ["toy"]


def test_a_host_that_is_not_known(calls):
    """One line that says so, UNAVAILABLE as over gRPC."""
    with pytest.raises(VaeError, match=r"^UNAVAILABLE: http://nohost\.invalid: .*its host is not known"):
        calls.do("http://nohost.invalid", "models")


def test_tokens(repository, tmp_path, calls):
    """A newline at the end is no part of it; a wrong one is refused with the server's reason."""
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    with serving(repository, "--auth-token-file", str(secret)) as server:
        url = f"http://{server.http_address}"
        assert calls.do(url, "models", token="s3cret\n")
        with pytest.raises(VaeError, match="UNAUTHENTICATED") as caught:
            calls.do(url, "models", token="wr0ng")
        assert caught.value.reason == "UNAUTHENTICATED"


def test_threads_and_their_connections(server_process):
    """16 threads share a client, each with its own answer, on as many connections as there are calls at once."""
    with Client(server_process) as client:
        wanted = {seed: client.sample("toy", 3, seed=seed).images for seed in range(16)}
        came = {}

        def work(seed):
            start.wait()
            came[seed] = [client.sample("toy", 3, seed=seed).images for _ in range(20)]

        start = threading.Barrier(16)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(patience.SECONDS)
    for seed, images in wanted.items():
        assert len(came[seed]) == 20
        for again in came[seed]:
            np.testing.assert_array_equal(again, images)


@pytest.fixture(scope="module")
def server_process(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    toy.make_bundle(root)
    with serving(root) as server:
        yield f"http://{server.http_address}"


FORK = """
import os, sys
from serving.client import Client
client = Client(sys.argv[1])
stream = client.sample_stream("toy", 10**6, seed=1)
next(stream)
before = client.sample("toy", 4, seed=1).images
child = os.fork()
same = all((client.sample("toy", 4, seed=1).images == before).all() for _ in range(50))
if child == 0:
    client.close()
    del client
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert same and status == 0, status
assert next(stream).first_row > 0
client.close()
"""


def test_a_copy_of_the_process(server_process):
    """After a fork both have connections of their own, and what the child closes stays open in the parent."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, server_process],
        env=os.environ | {"PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_closing(server):
    """Calls that are running fail, later ones are refused, and closing again does nothing."""
    url = f"http://{server.http_address}"
    client = AsyncClient(url)
    stream = client.sample_stream("toy", 10**9)
    await anext(stream)
    await client.close()

    async def read_on():
        async for _ in stream:
            pass

    with pytest.raises(VaeError, match="CANCELLED: this client was closed"):
        await read_on()
    with pytest.raises(ValueError, match="this client is closed"):
        await client.models()
    await client.close()

    def blocking():
        client = Client(url)
        stream = client.sample_stream("toy", 10**9)
        next(stream)
        threading.Timer(0.1, client.close).start()
        with pytest.raises(VaeError, match="CANCELLED: this client was closed"):
            list(stream)
        with pytest.raises(ValueError, match="this client is closed"):
            client.models()
        client.close()

    await asyncio.to_thread(blocking)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the first loop's are not closed
def test_a_client_is_used_in_one_loop_after_another(server_process):
    """asyncio.run twice with the same client: each loop has connections of its own."""
    client = AsyncClient(server_process)

    async def use():
        return await client.models()

    async def use_and_close():
        async with client:
            return await client.models()

    assert asyncio.run(use()) == asyncio.run(use_and_close())


def test_more_calls_than_there_may_be(calls, monkeypatch):
    """They wait for their turn, and the one that had none says why."""
    for module in (http_blocking, http_asyncio):
        monkeypatch.setattr(module, "MOST_CONNECTIONS", 0)
    with (
        answering(models()) as served,
        pytest.raises(VaeError, match=r"DEADLINE_EXCEEDED: \d+ calls of this"),
    ):
        calls.do(served.url, "models", timeout_s=0.1)
    assert not served.heads


def test_addresses_of_a_name_take_turns(calls, monkeypatch):
    """As over gRPC: all addresses of a host share the calls, and one that is gone is left out."""
    ask = socket.getaddrinfo

    def two(host, *arguments, **options):  # the resolver of a machine has no such name
        if host != "vae.internal":
            return ask(host, *arguments, **options)
        found = [ask(address, *arguments, **options) for address in ("127.0.0.2", "127.0.0.1")]
        return [entry for entries in found for entry in entries]

    monkeypatch.setattr(blocking_connection, "_addresses", _without_numeric(two))
    monkeypatch.setattr(socket, "getaddrinfo", two)
    with answering(models()) as first:
        port = int(first.address.rpartition(":")[2])
        with answering(models(), host="127.0.0.2", port=port) as second:
            for _ in range(3):
                calls.twice(f"http://vae.internal:{port}")
            assert len(first.heads) == len(second.heads) == 3
        for _ in range(2):
            calls.twice(f"http://vae.internal:{port}")
        assert len(first.heads) == 7


def _without_numeric(ask):
    def addresses(host, port, flags):
        if flags:
            raise socket.gaierror
        return [(family, name) for family, _, _, _, name in ask(host, port, type=socket.SOCK_STREAM)]

    return addresses


def relay(connected, port):
    """Bytes to a port of this machine and back, until one end closes."""
    with socket.create_connection(("127.0.0.1", port)) as there:

        def back():
            with contextlib.suppress(OSError):
                while data := there.recv(65536):
                    connected.sendall(data)
                connected.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=back)
        thread.start()
        with contextlib.suppress(OSError):
            while data := connected.recv(65536):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)
        thread.join(patience.SECONDS)


async def test_proxies(settings, tmp_path, authority, calls, monkeypatch):
    """http:// is passed on by the proxy, https:// goes through it unread; the proxy's refusal is told as its own."""
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(models()) as served:
        monkeypatch.setenv("http_proxy", f"http://user:pass@{served.address}")
        await asyncio.to_thread(calls.do, "http://vae.example:8080/p", "models")
    assert served.heads[0].startswith(
        "POST http://vae.example:8080/p/vae.v1.VaeService/ListModels HTTP/1.1\r\n"
    )
    assert "host: vae.example:8080\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n" in served.heads[0]

    certificate, root = authority.issue_cert("vae.example"), tmp_path / "root.pem"
    authority.cert_pem.write_to_path(root)
    paths = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    certificate.private_key_pem.write_to_path(paths["tls_key"])
    certificate.cert_chain_pems[0].write_to_path(paths["tls_certificate"])
    async with running(settings.model_copy(update=paths)) as server:
        heads = []

        def tunnel(conversation):
            heads.append(conversation.head())
            if refuses:
                conversation.say(b"HTTP/1.1 403 Forbidden by policy\r\n\r\n")
                return
            conversation.say(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n")
            relay(conversation.socket, int(server.http_address.rpartition(":")[2]))

        refuses = False
        with peer(tunnel) as served:
            monkeypatch.setenv("https_proxy", served.url)
            found = await asyncio.to_thread(calls.do, "https://vae.example", "models", root_certificate=root)
            assert [model.name for model in found] == ["toy"]
            assert heads == ["CONNECT vae.example:443 HTTP/1.1\r\nhost: vae.example:443\r\n"]
            refuses = True
            await refused(
                calls,
                "https://vae.example",
                r"by the proxy http://127.*asked for vae\.example:443 and said 403 Forb",
            )
