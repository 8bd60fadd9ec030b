"""How the sockets of HTTP clients are set up."""

import contextlib
import socket

CONNECT_S = 2.0
"""For an address while there are others."""
SMALL = 64 << 10
"""Bytes of a request that the other end takes even if it reads nothing."""
LONGEST_TUNNEL = 8 << 10
"""Bytes of what a proxy says to CONNECT."""
_KEEPALIVE_S, _PROBE_S, _PROBES = 10, 2, 2
_UNHEARD_MS = 15_000


def tune(connected: socket.socket) -> None:
    """A gateway that forgets an idle connection closes nothing: the kernel asks whether it is still there."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # the latter is macOS's
    for option, value in (
        (idle, _KEEPALIVE_S),
        (getattr(socket, "TCP_KEEPINTVL", None), _PROBE_S),
        (getattr(socket, "TCP_KEEPCNT", None), _PROBES),
    ):
        if option is not None:
            with contextlib.suppress(OSError):
                connected.setsockopt(socket.IPPROTO_TCP, option, value)


def expect(connected: socket.socket, size: int) -> None:
    """Before a request of so many bytes: what nobody acknowledges breaks the connection, and not after a
    quarter of an hour. A large request may be held up by a server that is busy: only a small one is timed."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux
    if option is not None:
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, option, _UNHEARD_MS if size <= SMALL else 0)
