"""Addresses to listen on: whether they are well formed, and why one cannot be had."""

import ipaddress
import socket

_HIGHEST_PORT = 65_535


def parse(address: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port of "host:port".

    Raises:
        ValueError: saying what was wanted.
    """
    host, colon, digits = address.rpartition(":")
    wanted = "want host:port, with brackets around an IPv6 address"
    if not colon or not host or address != "".join(address.split()):
        raise ValueError(wanted)
    is_bracketed = host.startswith("[") and host.endswith("]")
    if (":" in host or "[" in host or "]" in host) and not is_bracketed:
        raise ValueError(wanted)
    is_number = digits.isascii() and digits.isdecimal() and len(digits) <= len(str(_HIGHEST_PORT))
    if not is_number or int(digits) > _HIGHEST_PORT:
        raise ValueError(f"want a port from 0 to {_HIGHEST_PORT}")
    return host.strip("[]"), int(digits)


def obstacle(address: str) -> str | None:
    """Why a server cannot listen there, in the system's words; None if it can."""
    host, port = parse(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as exc:
        return f"no such host: {exc.strerror}"
    problem: str | None = None
    for family, kind, protocol, _, where in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(where)
        except OSError as exc:
            problem = problem or exc.strerror
        else:
            return None
    return problem


def listen(address: str, backlog: int, *, shared: bool) -> tuple[list[socket.socket], str]:
    """Sockets that listen on every address of a host, on one port, and the address with that port.

    ``shared``: other processes listen there too. Raises OSError.
    """
    host, port = parse(address)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listening: list[socket.socket] = []
    try:
        for family, kind, protocol, _, where in found:
            one = socket.socket(family, kind, protocol)
            listening.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:  # "::" is for everybody, as gRPC has it
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(len(found) > 1))
            one.bind((where[0], port, *where[2:]))
            port = one.getsockname()[1]
            one.listen(backlog)
            one.setblocking(False)
    except OSError:
        for one in listening:
            one.close()
        raise
    return listening, f"{address.rpartition(':')[0]}:{port}"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it: every address of its host, "localhost" say, is loopback."""
    host, port = parse(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return False
    return all(_is_loopback(ipaddress.ip_address(str(where[0]).partition("%")[0])) for *_, where in found)


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_loopback
