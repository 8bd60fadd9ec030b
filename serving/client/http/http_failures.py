"""What can go wrong between an HTTP client and its server, as ``VaeError``."""

import errno
import os
import socket
import ssl
import time

import grpc

from serving.client.failures import VaeError, one_line
from serving.client.http.http_origin import Origin
from serving.client.http.http_pool import MOST_CONNECTIONS
from serving.client.http.http_reply import BadReply, CutOff

BROKEN = (OSError, CutOff, BadReply)
"""What a call on a connection may end with; see ``is_late``."""
_OPENSSL = " (_ssl.c:"


def left(end: float) -> float:
    """Seconds to it. Raises TimeoutError."""
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def is_late(exc: BaseException) -> bool:
    """Whether it is our time that is up; the kernel's patience with a dead connection has a number."""
    return isinstance(exc, TimeoutError) and exc.errno is None


def broken(origin: Origin, exc: Exception) -> VaeError:
    """Of a connection that was there."""
    if isinstance(exc, BadReply):
        return VaeError(grpc.StatusCode.UNKNOWN, f"{origin.shown}: {exc}")
    return VaeError(grpc.StatusCode.UNAVAILABLE, f"{origin.shown}: the connection was lost: {_reason(exc)}")


def unreachable(origin: Origin, exc: Exception | None) -> VaeError:
    """Of one that was not to be had."""
    if isinstance(exc, Refused):
        return VaeError(grpc.StatusCode.UNAVAILABLE, f"{origin.shown}: {exc}")
    return VaeError(grpc.StatusCode.UNAVAILABLE, f"{origin.shown}: cannot be reached: {_reason(exc)}")


def too_many(timeout_s: float) -> VaeError:
    """Of a call that had no turn."""
    return VaeError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"{MOST_CONNECTIONS} calls of this client are in progress, as many as may be; "
        f"none ended for {timeout_s:g} s",
    )


def closed() -> VaeError:
    """Of a call that was running."""
    return VaeError(grpc.StatusCode.CANCELLED, "this client was closed")


class Refused(OSError):
    """A proxy does not connect us."""


def check_tunnel(origin: Origin, answer: bytes) -> None:
    """What a proxy said to CONNECT. Raises Refused."""
    line = answer.partition(b"\r\n")[0].split(maxsplit=2)
    if len(line) < 2 or not line[0].startswith(b"HTTP/1.") or not line[1].startswith(b"2"):
        said = one_line(b" ".join(line[1:]).decode(errors="replace"))[:100] or "something else"
        raise Refused(f"the proxy was asked for {origin.server_name} and said {said}")


def _reason(exc: Exception | None) -> str:
    if exc is not None and is_late(exc):
        return "there was no answer in time"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified: {one_line(exc.verify_message)}"
    if isinstance(exc, ssl.SSLError):
        return f"no TLS: {one_line(str(exc)).partition(_OPENSSL)[0]}; is it http:// and not https://?"
    if isinstance(exc, socket.gaierror):
        return f"its host is not known: {exc.strerror}"
    if isinstance(exc, OSError) and exc.errno:
        return f"{os.strerror(exc.errno)} ({errno.errorcode.get(exc.errno, exc.errno)})"
    return one_line(str(exc)) or type(exc).__name__
