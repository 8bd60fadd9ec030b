"""Which names a request may call this server by.

A stranger's page can let its own name lead to 127.0.0.1 once it is loaded (DNS rebinding). For the browser it
then speaks to its own origin, whatever CORS says; but the request still carries the stranger's name.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")
"""RFC 3986, section 3.2, without user and password, which HTTP has no place for."""
_REMEMBERED = 16


class ServerNames:
    """Those given, and localhost and addresses as numbers, which nobody can let lead elsewhere."""

    def __init__(self, names: Iterable[str]) -> None:
        """In small letters; "*" lets every name in."""
        self._names = frozenset(names) - {""}
        self._takes_all = "*" in self._names
        self.takes = lru_cache(_REMEMBERED)(self._takes)
        """Whether a request that calls the server so is answered. A browser always calls it something."""

    def _takes(self, host: str | None) -> bool:
        if self._takes_all or not host:
            return True
        name = host_of(host)
        if name.startswith("["):
            return _is_number(name[1:-1], ipaddress.IPv6Address)
        name = name.removesuffix(".")
        is_ours = name == "localhost" or name.endswith(".localhost") or name in self._names
        return is_ours or _is_number(name, ipaddress.IPv4Address)


def host_of(authority: str) -> str:
    """Without the port, in small letters; empty if it is no authority."""
    found = _AUTHORITY.fullmatch(authority)
    return found["host"].lower() if found else ""


def _is_number(text: str, kind: type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
