"""One page of metrics for several worker processes: their pages joined.

Nothing is added up. Every series of a worker carries the label ``worker``, and whoever reads them chooses
what to sum: counters never run backwards when a worker is replaced, and no gauge is averaged by guess.
"""

import logging
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
_END = "# EOF"
"""Last line of a page in the OpenMetrics format."""


def joined_pages(addresses: Callable[[], Sequence[str]]) -> Any:
    """A WSGI application; ``addresses`` of the workers' own endpoints are asked for at each scrape."""
    # A proxy that the environment names is for the world outside, never for our own workers.
    fetch = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def page(address: str, environ: dict[str, Any]) -> tuple[str, str] | None:
        url = f"http://{address}/metrics?{environ.get('QUERY_STRING', '')}"
        request = urllib.request.Request(url, headers={"Accept": environ.get("HTTP_ACCEPT", "*/*")})
        try:
            with fetch(request, timeout=_TIMEOUT_S) as answer:
                return answer.read().decode(), answer.headers["Content-Type"]
        except (OSError, HTTPException) as exc:  # one that just ended is restarted; the others still count
            log.warning("worker metrics at %s cannot be read: %s", address, exc)
            return None

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        workers = addresses()
        with ThreadPoolExecutor(max(1, len(workers))) as threads:  # one that hangs delays no other
            pages = [found for found in threads.map(lambda worker: page(worker, environ), workers) if found]
        if not pages:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"no worker's metrics can be read\n"]
        start_response("200 OK", [("Content-Type", pages[0][1])])
        return [join([text for text, _ in pages]).encode()]

    return app


def join(pages: Sequence[str]) -> str:
    """Pages of one exposition format as one: the samples of a family together, under what describes it."""
    described: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for page in pages:
        family = ""
        for line in page.split("\n"):  # other breaks may stand within a label
            if line.startswith("# ") and line != _END:
                family = line.split(" ", 3)[2]
                known = described.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif line and line != _END:
                samples.setdefault(family, []).append(line)
    lines = [line for family in described for line in (*described[family], *samples.get(family, ()))]
    if pages and pages[0].rstrip().endswith(_END):
        lines.append(_END)
    return "\n".join(lines) + "\n"
