"""docker-compose.yml: its schema, and whether its parts fit each other, the server and .env.example."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.settings import PREFIX, Settings
from tests.deploy import tools

FILES = ("docker-compose.yml", "docker-compose.gpu.yml")
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")
LISTED = re.compile(r"^#?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$", re.MULTILINE)
LISTENING = ("VAE_ADDRESS", "VAE_HTTP_ADDRESS", "VAE_METRICS_ADDRESS")
"""Settings that the container fixes: what they mean outside is a published port."""

Document = dict[str, Any]


def schema_problems(root: Path) -> list[str]:
    """The compose specification's schema; needs no engine."""
    files = [root / name for name in FILES]
    done = tools.run(tools.find("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", *files)
    return tools.problems_of(done)


def config_problems(root: Path) -> list[str]:
    """`docker compose config`, which also interpolates and merges; needs the plugin but no engine."""
    docker = tools.find("docker")
    if tools.run(docker, "compose", "version").returncode:
        pytest.skip("the plugin `docker compose` is not installed")
    chosen = [flag for name in FILES for flag in ("-f", str(root / name))]
    commands = (chosen[:2], chosen, [*chosen[:2], "--profile", "dashboards"])
    done = [tools.run(docker, "compose", *flags, "config", "-q", cwd=root) for flags in commands]
    return [problem for one in done for problem in tools.problems_of(one)]


def problems(root: Path) -> list[str]:
    """What a schema cannot say."""
    document = load(root, FILES[0])
    found = [problem for check in ALL for problem in check(document, root)]
    return [*found, *_knobs(root)]


def load(root: Path, name: str) -> Document:
    """A compose file with the defaults in the place of its variables."""
    text = (root / name).read_text()
    document: Document = yaml.safe_load(VARIABLE.sub(lambda match: match["default"] or "", text))
    return document


def services_wait_for_what_can_happen(document: Document, root: Path) -> Iterator[str]:
    services = document["services"]
    for name, service in services.items():
        depends = service.get("depends_on", {})
        for other, condition in depends.items() if isinstance(depends, dict) else ((d, {}) for d in depends):
            if other not in services:
                yield f"{name}: depends on {other!r}, which is no service"
            elif condition.get("condition") == "service_completed_successfully":
                if services[other].get("restart") != "no":
                    yield f'{name}: waits for {other} to end, but {other} restarts: want restart: "no"'
            elif condition.get("condition") == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name}: waits for {other} to be healthy, but it has no healthcheck"


def services_are_hardened(document: Document, root: Path) -> Iterator[str]:
    for name, service in document["services"].items():
        if (
            service.get("read_only") is not True
            or service.get("cap_drop") != ["ALL"]
            or "no-new-privileges:true" not in service.get("security_opt", [])
        ):
            yield f"{name}: want a read-only root, no capabilities, no new privileges"
        for limit in ("cpus", "mem_limit", "pids_limit", "restart"):
            if limit not in service:
                yield f"{name}: want {limit}"
        tag = service["image"].rpartition("/")[2].partition(":")[2]
        if not tag or tag == "latest":
            yield f"{name}: image {service['image']}: want a tag other than latest"


def ports_are_on_loopback_and_served(document: Document, root: Path) -> Iterator[str]:
    environment = document["services"]["server"]["environment"]
    served = {environment[name].rpartition(":")[2] for name in LISTENING}
    published_ports = {port.split(":")[2] for port in document["services"]["server"]["ports"]}
    for port in sorted(served - published_ports):
        yield f"server: it listens on port {port}, which is not published"
    for name, service in document["services"].items():
        for published in service.get("ports", []):
            host, _, inside = published.split(":")
            if host != "127.0.0.1":
                yield f"{name}: port {published}: want loopback by default"
            if name == "server" and inside not in served:
                yield f"{name}: port {inside} is published, the server listens on {', '.join(sorted(served))}"
    if any(not environment[name].startswith("0.0.0.0:") for name in LISTENING):
        yield "server: want it to listen on all interfaces of its container"


def volumes_exist(document: Document, root: Path) -> Iterator[str]:
    used = set()
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                if not (root / source).exists():
                    yield f"{name}: mounts {source}, which does not exist"
            else:
                used.add(source)
    if used != set(document["volumes"]):
        yield f"volumes: {sorted(document['volumes'])} are declared, {sorted(used)} are used"


def builds_have_their_arguments(document: Document, root: Path) -> Iterator[str]:
    overrides = load(root, FILES[1])["services"]
    for name, service in document["services"].items():
        if not (build := service.get("build")):
            continue
        dockerfile = (root / build["dockerfile"]).read_text()
        for argument in {**build.get("args", {}), **overrides.get(name, {}).get("build", {}).get("args", {})}:
            if f"\nARG {argument}" not in dockerfile:
                yield f"{name}: build argument {argument} is unknown to {build['dockerfile']}"
    for name in overrides:
        if name not in document["services"]:
            yield f"{FILES[1]}: {name} is no service of {FILES[0]}"


def every_setting_is_offered(document: Document, root: Path) -> Iterator[str]:
    offered = {name for name in document["services"]["server"]["environment"] if name.startswith(PREFIX)}
    wanted = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(offered ^ wanted):
        yield f"server: {name} {'is no setting of the server' if name in offered else 'is not offered'}"


def stopping_has_time(document: Document, root: Path) -> Iterator[str]:
    fields = Settings.model_fields
    needed = fields["drain_s"].default + fields["grace_s"].default
    given = float(document["services"]["server"].get("stop_grace_period", "10s").removesuffix("s"))
    if given <= needed:
        yield f"server: stop_grace_period {given:g} s, want more than the {needed:g} s of drain and grace"


def prometheus_scrapes_the_server(document: Document, root: Path) -> Iterator[str]:
    config = yaml.safe_load((root / "k8s/monitoring/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    targets = [t for part in jobs.get("vaeserve", {}).get("static_configs", []) for t in part["targets"]]
    port = document["services"]["server"]["environment"]["VAE_METRICS_ADDRESS"].rpartition(":")[2]
    if targets != [f"server:{port}"]:
        yield f"prometheus.yml: job vaeserve scrapes {targets}, want server:{port}"
    provisioned = root / "k8s/monitoring/grafana/provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(provisioned.read_text())["datasources"]
    if source["url"] != "http://prometheus:9090" or "prometheus" not in document["services"]:
        yield f"Grafana asks {source['url']}, want the service prometheus"


def _knobs(root: Path) -> Iterator[str]:
    """Compose files and .env.example speak of the same variables with the same defaults."""
    listed = {m["name"]: m["value"] for m in LISTED.finditer((root / ".env.example").read_text())}
    used: dict[str, set[str]] = {}
    for name in FILES:
        for match in VARIABLE.finditer((root / name).read_text()):
            used.setdefault(match["name"], set()).add(match["default"] or "")
    passed = load(root, FILES[0])["services"]["server"]["environment"]
    settings = {name for name, value in passed.items() if value is None}
    for name in sorted(set(listed) ^ (set(used) | settings)):
        yield f"{name}: {'in .env.example but not used' if name in listed else 'not in .env.example'}"
    for name in sorted(set(listed) & set(used)):
        if listed[name] not in used[name]:
            yield f"{name}: .env.example says {listed[name]!r}, the default is {sorted(used[name])}"
    for name in sorted(name for name in set(listed) & settings if name.startswith(PREFIX)):
        default = Settings.model_fields[name.removeprefix(PREFIX).lower()].default
        if isinstance(default, tuple):
            default = ",".join(default)
        shown = f"{default:g}" if isinstance(default, float) else str(default)
        if default is not None and listed[name] != shown:
            yield f"{name}: .env.example says {listed[name]!r}, the server's default is {shown}"


ALL: tuple[Callable[[Document, Path], Iterator[str]], ...] = (
    services_wait_for_what_can_happen,
    services_are_hardened,
    ports_are_on_loopback_and_served,
    volumes_exist,
    builds_have_their_arguments,
    every_setting_is_offered,
    stopping_has_time,
    prometheus_scrapes_the_server,
)
