"""Between client and server: certificates, addresses, proxies, connections that nobody uses or that are lost."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import Client, VaeError
from serving.errors import StartupError
from serving.server import running
from tests.support import process


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def files(tmp_path, authority, **changes):
    """Flags of a server with a certificate for localhost, ``changes`` being other contents of its files."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    contents = {
        "tls_certificate": b"".join(blob.bytes() for blob in certificate.cert_chain_pems),
        "tls_key": certificate.private_key_pem.bytes(),
        "tls_client_ca": authority.cert_pem.bytes(),
    } | changes
    paths = {}
    for name, content in contents.items():
        if content is not None:
            paths[name] = tmp_path / name
            paths[name].write_bytes(content)
    return paths


async def test_tls_with_clients_certificates(settings, tmp_path, authority):
    """Who shows a certificate of the authority is answered, who shows none is not."""
    paths = files(tmp_path, authority)
    own = authority.issue_cert("client@example.org")
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    root = authority.cert_pem.bytes()
    async with running(settings.model_copy(update=paths)) as server:
        port = server.grpc_address.rpartition(":")[2]
        for key, certificate, answered in ((own.private_key_pem.bytes(), chain, True), (None, None, False)):
            credentials = grpc.ssl_channel_credentials(root, key, certificate)
            async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as connection:
                check = health_pb2_grpc.HealthStub(connection).Check(health_pb2.HealthCheckRequest())
                if answered:
                    assert (await check).status == health_pb2.HealthCheckResponse.SERVING
                else:
                    with pytest.raises(grpc.aio.AioRpcError):
                        await check


async def test_tls_from_our_client(settings, tmp_path, authority):
    """With the authority's certificate it is answered; without, it says UNAVAILABLE."""
    paths = files(tmp_path, authority, tls_client_ca=None)
    root = tmp_path / "root.pem"
    root.write_bytes(authority.cert_pem.bytes())
    async with running(settings.model_copy(update=paths)) as server:
        address = f"localhost:{server.grpc_address.rpartition(':')[2]}"

        def ask():
            with Client(address, root_certificate=root) as client:
                return [model.name for model in client.models()]

        assert await asyncio.to_thread(ask) == ["toy"]


OTHER = trustme.CA().issue_cert("localhost")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tls_key": b"nonsense"}, "--tls-key .*: want PEM text, there is no -----BEGIN"),
        ({"tls_certificate": b"\xef\xbb\xbf-----BEGIN CERTIFICATE"}, "--tls-certificate .*byte order mark"),
        (
            {"tls_certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
            "--tls-certificate .*: OpenSSL cannot use it",
        ),
        ({"tls_key": OTHER.private_key_pem.bytes()}, "--tls-key .*: want the key of the certificate"),
        (
            {
                "tls_key": b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
            },
            "--tls-key .*: want a key without a pass phrase",
        ),
        ({"tls_client_ca": b"x"}, "--tls-client-ca .*: want PEM text"),
        ({"tls_key": b" \n"}, "--tls-key .*: want content, the file is empty"),
    ],
)
async def test_a_bad_certificate_or_key_says_what_is_wrong(settings, tmp_path, authority, changes, message):
    """One line that names the file; nobody asks whether the port is taken."""
    with pytest.raises(StartupError, match=message) as refusal:
        async with running(settings.model_copy(update=files(tmp_path, authority, **changes))):
            pass
    assert "\n" not in str(refusal.value)
    assert "port" not in str(refusal.value)


def test_an_address_that_is_not_ours_says_why(repository):
    """The system's own word beside the question whether the port is taken."""
    for flags in (["--address", "192.0.2.1:0"], ["--workers", "2", "--address", "192.0.2.1:0"]):
        code, line = process.refused(repository, *flags)
        assert code == 2
        assert "Cannot assign requested address" in line


@pytest.mark.parametrize("workers", [1, 2])
def test_a_proxy_in_the_environment_is_not_for_this_host(repository, monkeypatch, workers):
    """Container engines hand `http_proxy` in; the health check and the scrape of workers do not go through it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        with process.serving(repository, "--workers", str(workers)) as server:
            check = subprocess.run(
                [sys.executable, "-m", "serving.healthcheck"],
                env=os.environ | {"VAE_ADDRESS": server.grpc_address},
                capture_output=True,
                text=True,
                check=False,
            )
            assert (check.returncode, check.stderr) == (0, "")
            page = subprocess.run(
                [sys.executable, "-c", SCRAPE, server.metrics_address],
                capture_output=True,
                text=True,
                check=True,
            )
            assert "vae_model_ready" in page.stdout


SCRAPE = """
import sys, urllib.request
open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
print(open(f"http://{sys.argv[1]}/metrics").read().decode())
"""


def test_a_token_is_stripped_and_never_shown(repository, tmp_path):
    """A newline at the end of a variable is no part of it; one that cannot be sent is refused without being printed."""
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    with process.serving(repository, "--auth-token-file", str(secret)) as server:
        asked = [sys.executable, "-m", "serving.client", "models", "--address", server.grpc_address]
        for token, code in (("s3cret\n", 0), ("s3cret\nmore", 1), ("wr0ng", 1)):
            done = subprocess.run(
                asked, env=os.environ | {"VAE_TOKEN": token}, capture_output=True, text=True, check=False
            )
            assert bool(done.returncode) == bool(code), done.stderr
            assert "s3cret" not in done.stderr
            assert "wr0ng" not in done.stderr
            assert "Traceback" not in done.stderr


class Path:
    """A way to the server that can forget its connections, as gateways do: bytes vanish, nothing is closed."""

    def __init__(self, port):
        self._port = port
        self._forgotten: set[int] = set()
        self._writers = []
        self.connections = 0
        self.passed = 0
        """Bytes, both ways together."""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.close()

    def forget(self):
        self._forgotten.update(range(self.connections))

    async def _accept(self, reader, writer):
        number, self.connections = self.connections, self.connections + 1
        there = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, there[1]]
        with contextlib.suppress(OSError):
            await asyncio.gather(
                self._pass_on(number, reader, there[1]), self._pass_on(number, there[0], writer)
            )

    async def _pass_on(self, number, reader, writer):
        while content := await reader.read(65536):
            self.passed += len(content)
            if number not in self._forgotten:
                writer.write(content)
                await writer.drain()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_a_connection_that_was_forgotten_on_the_way_is_given_up(server, scheme):
    """The client finds out while idle or in its next call, connects anew and is answered; without keepalive each of
    its calls would wait for its deadline for a quarter of an hour."""
    address = server.http_address if scheme else server.grpc_address
    async with Path(int(address.rpartition(":")[2])) as path:
        with Client(f"{scheme}127.0.0.1:{path.port}", timeout_s=5) as client:
            assert len(await asyncio.to_thread(client.models)) == 1
            path.forget()
            answered = threading.Event()
            for _ in range(8):
                with contextlib.suppress(VaeError):
                    await asyncio.to_thread(client.models)
                    answered.set()
                    break
            assert answered.is_set()
            assert path.connections == 2


@pytest.mark.slow
async def test_an_idle_connection_that_asks_is_kept(server):
    """A client's pings while nothing is called are no offence: no GOAWAY, and the connection is there when it is used."""
    async with Path(int(server.grpc_address.rpartition(":")[2])) as path:
        with Client(f"127.0.0.1:{path.port}", timeout_s=5) as client:
            assert len(await asyncio.to_thread(client.models)) == 1
            before = path.passed
            await asyncio.sleep(45)  # four pings; it is time itself that is tried here
            assert path.passed >= before + 3 * 17
            assert len(await asyncio.to_thread(client.models)) == 1
            assert path.connections == 1
