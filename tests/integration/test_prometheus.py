"""A real Prometheus and Alertmanager (Debian's packages) watching a real server; skipped where they are not installed."""

import math

import pytest

from tests.deploy import live_prometheus, monitoring, tools, traffic
from tests.deploy.live_prometheus import until
from tests.support import process, toy

pytestmark = pytest.mark.slow

SAMPLED = 'job_model_method:vae_requests:rate5m{model="toy", method="Sample"} > 0'


def test_a_server_is_scraped_and_its_end_is_noticed(tmp_path):
    """Scrape, recording rule, alert fired and received when the server stops, resolved when it is back."""
    toy.make_bundle(tmp_path / "models")
    metrics = f"127.0.0.1:{live_prometheus.free_port()}"
    serve = (tmp_path / "models", "--metrics-address", metrics)
    with live_prometheus.running(tmp_path, scraped=metrics) as prometheus:
        with process.serving(*serve) as server:
            until(lambda: prometheus.query('up{job="vaeserve"} == 1'))
            until(
                lambda: (
                    traffic.exercise(server.grpc_address, server.http_address) and prometheus.query(SAMPLED)
                )
            )
            assert server.terminate() == 0
        fired = prometheus.notified("VaeServerDown", "firing")
        assert fired["labels"]["severity"] == "critical"
        assert fired["annotations"]["summary"] == f"vaeserve {metrics} cannot be scraped"
        with process.serving(*serve):
            prometheus.notified("VaeServerDown", "resolved")


def test_every_panel_shows_something_under_load(tmp_path):
    """No expression of the dashboard is without a number while a server is in use."""
    toy.make_bundle(tmp_path / "models")
    wanted = [
        (title, monitoring.substituted(expression).replace("[5m]", "[4s]"))
        for title, expression in monitoring.expressions(tools.ROOT)
    ]
    with (
        process.serving(tmp_path / "models") as server,
        live_prometheus.running(tmp_path, scraped=server.metrics_address) as prometheus,
    ):
        for _ in range(20):  # the first rates need a few scrapes
            traffic.exercise(server.grpc_address, server.http_address, seconds=1)
            empty = [title for title, query in wanted if not has_numbers(prometheus.query(query))]
            if not empty:
                break
        assert not empty


def test_prometheus_takes_the_exemplars(tmp_path, heard):
    """It asks for OpenMetrics by itself, finds the page sound, and leads from a latency to a trace that exists."""
    toy.make_bundle(tmp_path / "models")
    with (
        process.serving(tmp_path / "models", "--tracing", "on") as server,
        live_prometheus.running(
            tmp_path, server.metrics_address, "--enable-feature=exemplar-storage"
        ) as prometheus,
    ):
        until(
            lambda: traffic.exercise(server.grpc_address, server.http_address) and prometheus.query(SAMPLED)
        )
        shown = until(lambda: prometheus.exemplars("vae_request_duration_seconds_bucket"))
        traces = {(labels["trace_id"], labels["span_id"]) for labels in shown}
        until(lambda: traces <= {(span.trace_id, span.span_id) for span in heard.spans})


def has_numbers(result) -> bool:
    """Whether a sample is there that is a number; before the first rates form it is NaN."""
    return any(not math.isnan(float(sample["value"][1])) for sample in result)
