"""The HTTP endpoint that Prometheus scrapes."""

from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client

from serving.errors import StartupError


@contextmanager
def metrics_server(address: str, registry: prometheus_client.CollectorRegistry) -> Iterator[str]:
    """Serve ``registry`` over HTTP; yields the address with its real port."""
    host, _, port = address.rpartition(":")
    try:
        httpd, thread = prometheus_client.start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, OverflowError) as exc:
        raise StartupError(f"--metrics-address {address}: cannot listen: {exc}") from None
    try:
        yield f"{host}:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
