"""The composed service in a real Docker engine: commands, and what they answer."""

import json
import os
import re
import subprocess
import time
from datetime import datetime
from typing import Any

from tests.deploy import live_prometheus, tools

PROJECT = "vaeserve-check"
PORTS = ("GRPC_PORT", "HTTP_PORT", "METRICS_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")


class Stack:
    """docker-compose.yml under a project name and on ports of its own."""

    def __init__(self) -> None:
        self.ports = {name: live_prometheus.free_port() for name in PORTS}
        own = {"COMPOSE_PROJECT_NAME": PROJECT, **{name: str(port) for name, port in self.ports.items()}}
        self.environment = os.environ | own

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports['GRPC_PORT']}"

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.ports['HTTP_PORT']}"

    @property
    def prometheus(self) -> str:
        return f"127.0.0.1:{self.ports['PROMETHEUS_PORT']}"

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ("docker", *command),
            cwd=tools.ROOT, env=self.environment | environment, capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"docker {' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def compose(
        self, *command: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run("compose", *command, check=check, **environment)

    def inspect(self, service: str) -> dict[str, Any]:
        """The engine's own account of a service's container, stopped or not."""
        name = self.compose("ps", "-aq", service).stdout.split()[0]
        return dict(json.loads(self.run("inspect", name).stdout)[0])

    def stats(self, service: str) -> dict[str, str]:
        """CPU and memory of a running container."""
        identifier = self.inspect(service)["Id"]
        return dict(json.loads(self.run("stats", "--no-stream", "--format", "{{json .}}", identifier).stdout))

    def logs(self, service: str) -> list[tuple[float, str]]:
        """Time and text of each line."""
        done = self.run("logs", "--timestamps", self.inspect(service)["Id"])
        stamped = (line.partition(" ") for line in (done.stdout + done.stderr).splitlines() if line)
        return sorted((seconds(stamp), text) for stamp, _, text in stamped)

    def alerts(self) -> set[str]:
        found = live_prometheus.query(self.prometheus, 'ALERTS{alertstate="firing"}')
        return {sample["metric"]["alertname"] for sample in found}

    def down(self) -> None:
        self.compose("--profile", "dashboards", "down", "--volumes", "--timeout", "40", check=False)


def seconds(stamp: str) -> float:
    """Of the engine's time stamps, which have nanoseconds."""
    return datetime.fromisoformat(re.sub(r"\.(\d{6})\d*Z$", r".\1+00:00", stamp)).timestamp()


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def timed(start: float) -> str:
    return f"{time.monotonic() - start:.1f} s"
