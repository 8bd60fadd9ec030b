"""Which transport, host, path and proxy an address means."""

import pytest
import trustme

from serving.client import AsyncClient, Client
from serving.client.http.http_origin import origin_of
from serving.client.transports.access import Access


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Whatever the machine has."""
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("address", "host", "port", "authority", "target"),
    [
        ("http://localhost:8080", "localhost", 8080, "localhost:8080", ""),
        ("HTTP://Example.org", "example.org", 80, "example.org", ""),
        ("https://example.org/", "example.org", 443, "example.org", ""),
        ("http://h:80/a/b/", "h", 80, "h", "/a/b"),
        ("http://h/ü%20x", "h", 80, "h", "/%C3%BC%20x"),
        ("http://[::1]:8080/p", "::1", 8080, "[::1]:8080", "/p"),
        ("http://[fe80::1%25eth0]:8080", "fe80::1%eth0", 8080, "[fe80::1]:8080", ""),
        ("http://my_service:1", "my_service", 1, "my_service:1", ""),
        ("http://bücher.example", "xn--bcher-kva.example", 80, "xn--bcher-kva.example", ""),
    ],
)
def test_addresses(address, host, port, authority, target):
    """Host, port and path are those of any URL."""
    origin = origin_of(address, Access())
    assert (origin.host, origin.port, origin.authority, origin.target) == (host, port, authority, target)
    assert (origin.context is not None) == address.startswith("https")


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http:///path",
        "http://:8080",
        "http://h:0",
        "http://h:99999",
        "http://h:port",
        "http://[::1",
        "http://[::g]:1",
        "http://a..b",
        "http://-h",
        f"http://{'a' * 64}",
        "http://h\r\nx: y",
        "http://h/a b",
        "http://h\\x",
        "http://h/?q",
        "http://h/#f",
        "http://h?",
        "ftp://h",
        "grpc://h:1",
        "htp://h:1",
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_addresses_that_are_none(address, kind):
    """They are refused at once, in one line that says what is wanted."""
    with pytest.raises(ValueError, match=r"^address: want .*http://.* came ") as refusal:
        kind(address)
    assert "\n" not in str(refusal.value)


def test_a_password_in_an_address_is_not_shown():
    """A user belongs to no address of a server; what may be a password is not printed."""
    for address in ("http://user:s3cret@h:1", "http://user:s3@cret@h:x", "https://s3cret@[::1]"):
        with pytest.raises(ValueError, match="came one with a user") as refusal:
            Client(address)
        assert "cret" not in str(refusal.value)


def test_http_and_tls_are_no_pair(tmp_path):
    """Who asks for TLS and writes http:// is told, and nothing is sent in the clear."""
    root = tmp_path / "root.pem"
    root.write_bytes(trustme.CA().cert_pem.bytes())
    for access in ({"tls": True}, {"root_certificate": root}):
        with pytest.raises(ValueError, match="want https://"):
            Client("http://h:1", **access)
    with pytest.raises(OSError, match=r"none\.pem"):
        Client("https://h:1", root_certificate=tmp_path / "none.pem")
    for content in (b"-----BEGIN CERTIFICATE-----\nx\xff\n", b"", b"x"):
        root.write_bytes(content)
        with pytest.raises(ValueError, match=r"root_certificate: want a PEM file .*root\.pem is none"):
            Client("https://h:1", root_certificate=root)


def test_a_token_that_cannot_be_sent_is_not_shown():
    """The same as over gRPC: a newline at the end is no part of it, one inside is refused."""
    Client("http://h:1", token="s3cret\n")
    for token in ("s3\ncret", "s3\r\nx: y", "schlüssel", "\x1b[0m"):
        with pytest.raises(ValueError, match="token: want one line of printable ASCII") as refusal:
            Client("http://h:1", token=token)
        assert token not in str(refusal.value)


def proxied(address):
    origin = origin_of(address, Access())
    return origin.proxy and (origin.host, origin.port)


def test_proxies(monkeypatch):
    """Those of the environment, each for its scheme, in the form that it wants."""
    monkeypatch.setenv("http_proxy", "http://us%20er:p@proxy:3128/")
    plain = origin_of("http://h:1/p", Access())
    assert (plain.host, plain.port, plain.target, plain.tunnel) == ("proxy", 3128, "http://h:1/p", b"")
    assert plain.headers == ("host: h:1", "proxy-authorization: Basic dXMgZXI6cA==")
    assert "dXM" not in plain.shown
    assert "p@" not in plain.shown
    assert proxied("https://h:1") is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy")
    secure = origin_of("https://h/p", Access())
    assert (secure.host, secure.port, secure.target) == ("proxy", 80, "/p")
    assert secure.tunnel == b"CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n"
    assert secure.server_name == "h"


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    """Container engines hand ``http_proxy`` in; what "localhost" is, is another machine there."""
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    for host in ("localhost", "x.localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
        assert proxied(f"http://{host}:1") is None


@pytest.mark.parametrize(
    ("listed", "excepted", "others"),
    [
        ("*", ["h", "10.0.0.1"], []),
        ("h, .example.org", ["h", "a.h", "example.org", "a.example.org"], ["hh", "aexample.org"]),
        ("*.example.org", ["a.example.org"], ["example.com"]),
        ("10.0.0.0/8,fd00::/8", ["10.1.2.3", "[fd00::1]"], ["11.0.0.1", "ten"]),
        ("10.0.0.1 [fd00::1]", ["10.0.0.1", "[fd00::1]"], ["10.0.0.2"]),
        ("h:8080", ["h:8080"], ["h:8081"]),
        ("", [], ["h"]),
    ],
)
def test_what_needs_no_proxy(monkeypatch, listed, excepted, others):
    """Names, domains, addresses, networks, and with a port that port alone."""
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", listed)
    assert [host for host in [*excepted, *others] if proxied(f"http://{host}")] == others


@pytest.mark.parametrize(
    "proxy", ["socks5://user:s3cret@p:1", "https://p", "http://", "http://[", "http://p:x"]
)
def test_a_proxy_that_is_none_of_http(monkeypatch, proxy):
    """It is not passed by in silence; the line names the variable and not the password."""
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ValueError, match=r"^http_proxy: want http://host:port, or no_proxy") as refusal:
        Client("http://h:1")
    assert "s3cret" not in str(refusal.value)
    monkeypatch.setenv("no_proxy", "h")
    Client("http://h:1").close()


def test_a_web_servers_header_is_no_proxy(monkeypatch):
    """CGI programs find the header "Proxy:" of their caller in HTTP_PROXY (CVE-2016-5385)."""
    monkeypatch.setenv("HTTP_PROXY", "http://evil:1")
    assert proxied("http://h:1") == ("evil", 1)
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert proxied("http://h:1") is None
