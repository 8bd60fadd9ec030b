"""Prometheus configuration, rules and the dashboard: each parsed by promtool, each metric really exported."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.deploy import tools

PROMETHEUS = "k8s/monitoring/prometheus"
DASHBOARD = "k8s/monitoring/grafana/dashboards/vaeserve.json"
RUNBOOK = "docs/operations.md"

VARIABLES = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$__interval": "1m",
    "$job": ".*",
    "$instance": ".*",
    "$model": ".*",
}
FROM_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate"}}
"""With their labels."""
FROM_SCRAPING = {"namespace", "job", "instance", "pod", "worker", "le"}
"""Labels that come on the way: from the target, from several workers, of buckets."""
_GROUPING = "by|without|on|ignoring|group_left|group_right"
_WORDS = {"by", "without", "on", "ignoring", "group_left", "or", "and", "unless", "offset", "le", "bool"}

Panel = dict[str, Any]


def config_problems(root: Path, folder: Path) -> list[str]:
    """promtool on both configurations and on the rules, and the rules' own unit tests."""
    promtool, source = tools.find("promtool"), root / PROMETHEUS
    plain = folder / "prometheus-kubernetes.yml"
    plain.write_text(_without_discovery((source / plain.name).read_text()))
    (folder / "rules.yml").write_text((source / "rules.yml").read_text())
    commands = (
        ("check", "config", source / "prometheus.yml"),
        ("check", "config", plain),
        ("check", "rules", source / "rules.yml"),
        ("test", "rules", source / "rules_test.yml"),
    )
    return [p for command in commands for p in tools.problems_of(tools.run(promtool, *command))]


def exposition_problems(exposition: str) -> list[str]:
    """`promtool check metrics` on what a server really exports."""
    return tools.problems_of(tools.run(tools.find("promtool"), "check", "metrics", text=exposition))


def rule_problems(root: Path) -> Iterator[str]:
    """Every alert has a severity, a section in the runbook, and a unit test in which it fires."""
    source = root / PROMETHEUS
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).strip().lower().replace(" ", "-")
        for line in (root / RUNBOOK).read_text().splitlines()
        if line.startswith("#")
    }
    tested = {
        case["alertname"]
        for test in yaml.safe_load((source / "rules_test.yml").read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case.get("exp_alerts")
    }
    for rule in _rules(root):
        if not (alert := rule.get("alert")):
            continue
        if rule.get("labels", {}).get("severity") not in ("critical", "warning"):
            yield f"{alert}: want severity critical or warning"
        file, _, anchor = rule.get("annotations", {}).get("runbook", "").partition("#")
        if file != RUNBOOK or anchor not in headings:
            yield f"{alert}: runbook {file}#{anchor}: there is no such section"
        if alert not in tested:
            yield f"{alert}: no test in rules_test.yml in which it fires"


def metric_problems(root: Path, exported: Iterable[str]) -> Iterator[str]:
    """Rules and panels ask only for what the server exports or a rule records."""
    recorded = {rule["record"] for rule in _rules(root) if "record" in rule}
    known = {*exported, *recorded, *FROM_PROMETHEUS}
    for title, expression in _everywhere(root):
        for name in sorted(metrics_in(expression) - known):
            yield f"{title}: no metric {name}"
    for name in sorted(recorded):
        level, metric, *_ = name.split(":")
        if not any(exported_name.startswith(metric.removesuffix("_errors")) for exported_name in exported):
            yield f"rules.yml: {name}: {metric} is not named after a metric ({level}:metric:operation)"


def label_problems(root: Path, exported: dict[str, set[str]]) -> Iterator[str]:
    """Rules and panels select and sum by labels that a metric in the same expression has; ``exported`` gives them.

    A sum by a label that is nowhere is no error to Prometheus, but one line where there should be several.
    """
    known = exported | FROM_PROMETHEUS
    known |= {rule["record"]: labels_in(rule["expr"]) for rule in _rules(root) if "record" in rule}
    for title, expression in _everywhere(root):
        there = FROM_SCRAPING.union(*(known.get(metric, ()) for metric in metrics_in(expression)))
        for label in sorted(labels_in(expression) - there):
            yield f"{title}: no metric in it has the label {label}"


def _everywhere(root: Path) -> Iterator[tuple[str, str]]:
    """Where it is, and the PromQL, of every rule and every panel."""
    for rule in _rules(root):
        yield f"rules.yml: {rule.get('alert') or rule.get('record')}", rule["expr"]
    for title, expression in expressions(root):
        yield f"dashboard: {title}", expression


def expression_problems(root: Path, folder: Path) -> list[str]:
    """Every expression of the dashboard, parsed by promtool as the rule it could be."""
    rules = [
        {"record": f"panel{number}", "expr": substituted(expression)}
        for number, (_, expression) in enumerate(expressions(root))
    ]
    target = folder / "panels.yml"
    target.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    return tools.problems_of(tools.run(tools.find("promtool"), "check", "rules", target))


def dashboard_problems(root: Path) -> Iterator[str]:
    """Identifiers differ, nothing overlaps, and every panel says what it shows."""
    found = panels(root)
    identifiers = [panel["id"] for panel in found]
    if len(identifiers) != len(set(identifiers)):
        yield "dashboard: identifiers of panels must differ"
    taken: dict[tuple[int, int], str] = {}
    for panel in found:
        box = panel["gridPos"]
        for x in range(box["x"], box["x"] + box["w"]):
            for y in range(box["y"], box["y"] + box["h"]):
                if x >= 24 or (x, y) in taken:
                    yield f"dashboard: {panel['title']} overlaps {taken.get((x, y), 'the edge')}"
                    return
                taken[x, y] = panel["title"]
        if panel["type"] != "row" and not panel.get("description"):
            yield f"dashboard: {panel['title']}: want a description"
    for title, expression in expressions(root):
        if unknown := re.findall(r"\$\w+", substituted(expression)):
            yield f"dashboard: {title}: unknown variables {', '.join(unknown)}"


def panels(root: Path) -> list[Panel]:
    found: list[Panel] = json.loads((root / DASHBOARD).read_text())["panels"]
    return found


def expressions(root: Path) -> list[tuple[str, str]]:
    """Title and PromQL of every target of every panel."""
    return [(p["title"], target["expr"]) for p in panels(root) for target in p.get("targets", [])]


def substituted(expression: str) -> str:
    """With values in the place of Grafana's variables."""
    for name in sorted(VARIABLES, key=len, reverse=True):
        expression = expression.replace(name, VARIABLES[name])
    return expression


def metrics_in(expression: str) -> set[str]:
    """Names of the metrics that an expression reads."""
    bare = re.sub(r"\"[^\"]*\"", '""', substituted(expression))
    bare = re.sub(r"\{[^}]*\}", "{}", bare)
    bare = re.sub(rf"\b(?:{_GROUPING})\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\[[^\]]*\]", "[]", bare)
    names = set(re.findall(r"(?<![\w:])([a-zA-Z_:][\w:]*)(?![\w:]|\s*\()", bare))
    return {name for name in names if name not in _WORDS and not re.fullmatch(r"\d+[smhd]", name)}


def labels_in(expression: str) -> set[str]:
    """Labels that an expression selects or groups by."""
    bare = re.sub(r"\"[^\"]*\"", '""', substituted(expression))
    lists = re.findall(rf"\b(?:{_GROUPING})\s*\(([^)]*)\)", bare)
    grouped = {label.strip() for found in lists for label in found.split(",") if label.strip()}
    selected = [re.findall(r"(\w+)\s*[=!]", braces) for braces in re.findall(r"\{([^}]*)\}", bare)]
    return grouped.union(*selected)


def _rules(root: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((root / PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _without_discovery(config: str) -> str:
    """The configuration with fixed targets: Debian's promtool is built without Kubernetes discovery."""
    document = yaml.safe_load(config)
    for job in document["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["localhost:9464"]}]
    return str(yaml.safe_dump(document))
