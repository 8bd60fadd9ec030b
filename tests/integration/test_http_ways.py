"""The clients over HTTP on their way to a server: TLS, wrong ports, names and their addresses, proxies."""

import asyncio
import contextlib
import socket
import threading

import numpy as np
import pytest
import trustme

from serving.client import VaeError
from serving.client.http import blocking_connection
from serving.server import running
from tests.support import patience, toy
from tests.support.both_clients import Blocking
from tests.support.http_peer import answering, models, peer

pytestmark = pytest.mark.usefixtures("no_pauses")


async def refused(calls, address, said, **options):
    with pytest.raises(VaeError, match=said) as caught:
        await asyncio.to_thread(calls.do, address, "models", **options)
    assert "\n" not in str(caught.value)
    return caught.value.code.name


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
                r"by the proxy http://127.*asked for vae\.example and said 403 Forb",
            )


def test_a_name_server_that_is_silent(monkeypatch):
    """It costs the call its deadline and no more."""
    asked, released = socket.getaddrinfo, threading.Event()

    def silent(host, port, *arguments, flags=0, **options):
        if not flags:
            released.wait(patience.SECONDS)
        return asked("none" if flags else "127.0.0.1", port, *arguments, flags=flags, **options)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with pytest.raises(VaeError, match=r"DEADLINE_EXCEEDED: no answer came for 0\.2 s"):
        Blocking.do("http://vae.internal:1", "models", timeout_s=0.2)
    released.set()
