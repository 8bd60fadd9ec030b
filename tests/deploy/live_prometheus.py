"""A real Prometheus with a real Alertmanager, natively, on our configuration and rules but in a hurry."""

import contextlib
import json
import queue
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tests.deploy import monitoring, tools

T = TypeVar("T")
Notification = dict[str, Any]


@dataclass(frozen=True)
class Prometheus:
    address: str
    notifications: "queue.SimpleQueue[Notification]"
    """Alerts as Alertmanager sent them on."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        return query(self.address, expression)

    def exemplars(self, expression: str) -> list[dict[str, str]]:
        """The labels of the exemplars of the last hour."""
        now = time.time()
        span = {"start": str(now - 3600), "end": str(now + 60)}
        found = _asked(self.address, "query_exemplars", query=expression, **span)
        return [exemplar["labels"] for series in found for exemplar in series["exemplars"]]

    def notified(self, alert: str, status: str, seconds: float = 30) -> Notification:
        """Wait for Alertmanager to say that an alert is `firing` or `resolved`."""
        end = time.monotonic() + seconds
        while True:
            came = self.notifications.get(timeout=max(0.01, end - time.monotonic()))
            if (came["labels"]["alertname"], came["status"]) == (alert, status):
                return came


def query(address: str, expression: str) -> list[dict[str, Any]]:
    return list(_asked(address, "query", query=expression)["result"])


def _asked(address: str, what: str, **parameters: str) -> Any:
    encoded = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"http://{address}/api/v1/{what}?{encoded}", timeout=10) as answer:
        return json.load(answer)["data"]


def until(look: Callable[[], T], seconds: float = 30, pause_s: float = 0.2) -> T:
    """The first answer that is true, asked for again and again."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if answer := look():
                return answer
        assert time.monotonic() < end, f"it did not come true in {seconds:g} s"
        time.sleep(pause_s)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, scraped: str, *flags: str) -> Iterator[Prometheus]:
    """Prometheus, with more flags, scraping one server at that address, until the block is left."""
    prometheus = tools.find("prometheus")
    alertmanager = tools.find("prometheus-alertmanager", "alertmanager")
    own, manager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    _write_rules(folder / "rules.yml")
    with _receiver() as (receiver, notifications):
        _dump(folder / "alertmanager.yml", _routing(receiver))
        _dump(folder / "prometheus.yml", _scraping(scraped, manager))
        with (
            _process(folder, alertmanager, "--config.file=alertmanager.yml", "--storage.path=alerts",
                     "--cluster.listen-address=", f"--web.listen-address={manager}"),
            _process(folder, prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                     f"--web.listen-address={own}", *flags),
        ):  # fmt: skip
            until(lambda: query(own, "vector(1)"))
            yield Prometheus(own, notifications)


def _write_rules(target: Path) -> None:
    """Our rules, but an alert fires as soon as its condition holds."""
    document = yaml.safe_load((tools.ROOT / monitoring.PROMETHEUS / "rules.yml").read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "0s"
    _dump(target, document)


def _scraping(scraped: str, manager: str) -> dict[str, Any]:
    """Our configuration, but once a second and with other addresses."""
    document: dict[str, Any] = yaml.safe_load(
        (tools.ROOT / monitoring.PROMETHEUS / "prometheus.yml").read_text()
    )
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document["scrape_configs"] = [job for job in document["scrape_configs"] if job["job_name"] == "vaeserve"]
    document["scrape_configs"][0]["static_configs"] = [{"targets": [scraped]}]
    document["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]}
    return document


def _routing(receiver: str) -> dict[str, Any]:
    return {
        "route": {"receiver": "test", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname"]},
        "receivers": [{"name": "test", "webhook_configs": [{"url": receiver, "send_resolved": True}]}],
    }


def _dump(target: Path, document: dict[str, Any]) -> None:
    target.write_text(yaml.safe_dump(document))


@contextlib.contextmanager
def _process(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[str, "queue.SimpleQueue[Notification]"]]:
    """A webhook that keeps what Alertmanager posts."""
    notifications: queue.SimpleQueue[Notification] = queue.SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in body["alerts"]:
                notifications.put(alert)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", notifications
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
