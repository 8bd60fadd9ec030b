"""The HTTP endpoint that Prometheus scrapes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from serving.errors import StartupError
from serving.host.sockets import parse


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerIPv6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
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
