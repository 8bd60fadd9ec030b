"""Where an HTTP address leads: host, TLS, path, and the proxy in between."""

import ipaddress
import re
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from serving.client.http.http_proxy import Proxy, proxy_for
from serving.client.transports.access import Access

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_WANTED = "want http://host:port or https://host:port, with a path if the server has one"
_PATH_LETTERS = "/%~!$&'()*+,;=:@"


@dataclass(frozen=True)
class Origin:
    """A server as its address has it."""

    url: str
    """Without a slash at its end."""
    host: str
    port: int
    """Where to connect: the proxy's, if there is one."""
    authority: str
    """Host and port as requests name them."""
    target: str
    """What a request's path begins with; the whole URL for a proxy that passes requests on."""
    context: ssl.SSLContext | None
    """None for plain text."""
    server_name: str
    """Whom the certificate is to name."""
    server_port: int
    proxy: Proxy | None

    @property
    def shown(self) -> str:
        """As errors name it."""
        return f"{self.url} (by the proxy {self.proxy.url})" if self.proxy else self.url

    @property
    def tunnel(self) -> bytes:
        """What a proxy is asked for before TLS; empty if there is nothing to ask for (RFC 9110, 9.3.6)."""
        if self.proxy is None or self.context is None:
            return b""
        there = f"{_bracketed(self.server_name)}:{self.server_port}"
        lines = [f"CONNECT {there} HTTP/1.1", f"host: {there}", *self.proxy.headers]
        return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()

    @property
    def headers(self) -> tuple[str, ...]:
        """Lines that every request has because of where it goes."""
        via = self.proxy.headers if self.proxy and self.context is None else ()
        return (f"host: {self.authority}", *via)


def origin_of(address: str, access: Access) -> Origin:
    """Raises ValueError naming what is wrong, OSError if the certificate cannot be read."""
    parts = _split(address)
    scheme = parts.scheme
    if access.encrypts and scheme == "http":
        raise ValueError("address: want https:// with tls or root_certificate, came http://")
    host, port = _host(parts), parts.port or _PORTS[scheme]
    authority = _bracketed(host) if port == _PORTS[scheme] else f"{_bracketed(host)}:{port}"
    path = quote(parts.path.rstrip("/"), safe=_PATH_LETTERS)
    url = f"{scheme}://{authority}{path}"
    proxy = proxy_for(scheme, host, port)
    is_plain = scheme == "http"
    return Origin(
        url=url,
        host=proxy.host if proxy else host,
        port=proxy.port if proxy else port,
        authority=authority,
        target=url if proxy and is_plain else path,
        context=None if is_plain else _context(access),
        server_name=host,
        server_port=port,
        proxy=proxy,
    )


def _bracketed(host: str) -> str:
    """Without the interface that an address of IPv6 may be of, which is this machine's affair."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


def _split(address: str) -> SplitResult:
    try:
        if any(letter.isspace() or not letter.isprintable() for letter in address) or "\\" in address:
            raise ValueError("blanks, control characters or backslashes")
        parts = urlsplit(address)
        port = None if "@" in parts.netloc else parts.port
    except ValueError as exc:
        raise ValueError(f"address: {_WANTED}, came one with a fault: {exc}") from None
    if "@" in parts.netloc:  # not shown: it may be a password
        raise ValueError(f"address: {_WANTED}, came one with a user; a server's token is given as token")
    if parts.query or parts.fragment or address.endswith(("?", "#")):
        raise ValueError(f"address: {_WANTED}, came one with a query or fragment")
    if port == 0:
        raise ValueError(f"address: {_WANTED}, came port 0")
    return parts


def _host(parts: SplitResult) -> str:
    """As it is looked up, ASCII."""
    host = parts.hostname or ""
    try:
        if ":" in host:
            return str(ipaddress.IPv6Address(host.replace("%25", "%")))  # RFC 6874
        name = host.encode("idna").decode()
    except ValueError:
        name = ""
    if not _HOST.fullmatch(name):
        raise ValueError(f"address: {_WANTED}, came the host {host!r}")
    return name


def _context(access: Access) -> ssl.SSLContext:
    root = access.root()
    try:
        if root is not None and b"-----BEGIN" not in root:  # of an empty text Python takes the system's
            raise ValueError("there is no -----BEGIN")
        pem = None if root is None else root.decode("ascii", "ignore")  # comments may have any letters
        context = ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as exc:
        raise ValueError(
            f"root_certificate: want a PEM file of certificates, {access.root_certificate} is none ({exc})"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    # As gRPC has it: authorities made by hand lack what Python 3.13 wants, and any of them is an anchor.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
