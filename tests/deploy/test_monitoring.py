"""Prometheus rules and the Grafana dashboard, against promtool, TypeScript types and a real server's metrics."""

import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy import monitoring, rendering, tools, traffic, typescript
from tests.support import process, toy


@pytest.fixture(scope="module")
def exposition(tmp_path_factory) -> str:
    """/metrics of a real server after calls of every method."""
    repository = tmp_path_factory.mktemp("models")
    toy.make_bundle(repository)
    with process.serving(repository) as server:
        traffic.exercise(server.grpc_address, server.http_address)
        with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
            return str(answer.read().decode())


def test_prometheus_takes_configuration_and_rules(tmp_path):
    """Both configurations and the rules parse, and every rule does what its unit test says."""
    assert not monitoring.config_problems(tools.ROOT, tmp_path)


def test_metrics_follow_the_conventions(exposition):
    """`promtool check metrics` has nothing to say about what the server exports."""
    assert not monitoring.exposition_problems(exposition)


def test_alerts_are_complete():
    """Severity, runbook section and a test that sees it fire, for every alert."""
    assert not list(monitoring.rule_problems(tools.ROOT))


def test_rules_and_panels_read_what_is_exported(exposition):
    """No rule and no panel asks for a metric that a server never has, or for a label that the metric has not."""
    exported: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
    assert {"transport", "code"} < exported["vae_requests_total"]
    assert not list(monitoring.metric_problems(tools.ROOT, exported))
    assert not list(monitoring.label_problems(tools.ROOT, exported))


def test_panels_parse(tmp_path):
    """Every expression of the dashboard is PromQL, and every panel has its place and its description."""
    assert not monitoring.expression_problems(tools.ROOT, tmp_path)
    assert not list(monitoring.dashboard_problems(tools.ROOT))


@pytest.mark.slow
def test_dashboard_has_only_fields_that_exist(tmp_path):
    """Grafana's own types take the dashboard and the options of every panel."""
    assert not typescript.dashboard_problems(tools.ROOT, tmp_path)


@pytest.mark.slow
def test_operator_objects_have_only_fields_that_exist(tmp_path):
    """The published types take ServiceMonitor, PrometheusRule and ScaledObject."""
    found = [
        *rendering.render(tools.ROOT, "k8s/monitoring"),
        *rendering.render(tools.ROOT, "k8s/overlays/fetched"),
    ]
    assert not typescript.object_problems(found, tmp_path)


def test_metrics_and_labels_are_found_in_expressions():
    """The parser that the checks above rely on tells metrics, functions, labels and durations apart."""
    expression = (
        'histogram_quantile(0.9, sum by (le, model) (rate(a_bucket{x="b_total"}[$__rate_interval])))'
        " / on (model) group_left () max_over_time(c:d:e[5m:1m]) > 3 or absent(up) offset 5m"
    )
    assert monitoring.metrics_in(expression) == {"a_bucket", "c:d:e", "up"}
    assert monitoring.labels_in(expression) == {"le", "model", "x"}
