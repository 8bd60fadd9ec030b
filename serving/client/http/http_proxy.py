"""Which proxy stands between, by the environment's variables, as curl and others have them.

``http_proxy`` is for http:// and ``https_proxy`` for https://, in small or large letters; ``no_proxy`` lists
what needs none: hosts, domains, addresses, networks, or ``*``. A proxy is never asked for this machine
itself: "localhost" is another there.
"""

import base64
import ipaddress
import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

_PORT = 80


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy."""

    host: str
    port: int
    headers: tuple[str, ...]
    """What it wants to hear of the user, as lines."""

    @property
    def url(self) -> str:
        """As errors name it, without user and password."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """Raises ValueError for a variable that names no HTTP proxy."""
    name = f"{scheme}_proxy"
    # A web server hands a header "Proxy:" to its CGI programs as HTTP_PROXY (CVE-2016-5385).
    names = (name,) if scheme == "http" and "REQUEST_METHOD" in os.environ else (name, name.upper())
    came = next((os.environ[key] for key in names if os.environ.get(key)), "").strip()
    if not came or _is_here(host) or _is_excepted(host, port):
        return None
    return _parsed(name, came)


def _parsed(name: str, came: str) -> Proxy:
    wanted = f"{name}: want http://host:port, or no_proxy with the server's host"
    try:
        parts = urlsplit(came if "://" in came else f"http://{came}")
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{wanted}; came something else") from None
    if scheme != "http" or not host or not host.isascii():
        raise ValueError(f"{wanted}; came {f'{scheme}://…' if scheme != 'http' else 'something else'}")
    headers: tuple[str, ...] = ()
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = (f"proxy-authorization: Basic {base64.b64encode(user.encode()).decode()}",)
    return Proxy(host, port or _PORT, headers)


def _is_here(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _is_excepted(host: str, port: int) -> bool:
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    return any(_matches(entry.lower(), host.lower(), port) for entry in listed.replace(",", " ").split())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if address:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            pass
    entry = entry.removesuffix(f":{port}").strip("[]").removeprefix("*").removeprefix(".").rstrip(".")
    return bool(entry) and (host.rstrip(".") == entry or host.rstrip(".").endswith(f".{entry}"))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
