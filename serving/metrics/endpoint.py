"""The HTTP endpoint that Prometheus scrapes.

Whoever reaches it can open connections and say nothing. A few at a time are kept, the newest, each for a few
seconds without a word: a scrape is always among them, and the other doors never lack a descriptor for it.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from serving.errors import StartupError
from serving.host.sockets import parse

_MOST_AT_ONCE = 16
_SILENT_S = 5.0


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._open: dict[socket.socket, None] = {}
        """Connections, the oldest first."""
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._open) >= _MOST_AT_ONCE:
            oldest = next(iter(self._open))
            self._open.pop(oldest, None)  # its own thread may be quicker
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)  # its thread wakes up and ends
        self._open[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of one connection, which is of no consequence for the others, nor worth a line."""


class _ServerIPv6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    timeout = _SILENT_S

    def log_message(self, *_: Any) -> None:
        """A scrape is no news."""


@contextmanager
def metrics_server(address: str, app: Any) -> Iterator[str]:
    """Serve a WSGI application on a thread of its own; yields the address with its real port."""
    host = address.rpartition(":")[0]
    bare, port = parse(address)
    kind = _ServerIPv6 if ":" in bare else _Server
    try:
        httpd = make_server(bare, port, app, kind, handler_class=_Silent)
    except OSError as exc:
        raise StartupError(f"--metrics-address {address}: cannot listen: {exc.strerror}") from None
    thread = threading.Thread(target=httpd.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"{host}:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
