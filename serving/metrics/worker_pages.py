"""One `/metrics` for several worker processes: scrapes each and puts the samples together."""

import logging
import math
import urllib.request
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


_COMBINE: dict[str, Callable[[list[float]], float]] = {
    "vae_model_ready": min,
    "vae_model_load_seconds": max,
    "vae_refused_versions": max,
    "vae_latent_drift": _mean,
    "vae_posterior_kl_nats": _mean,
    "vae_active_units": _mean,
    "process_start_time_seconds": min,
}
"""Gauges that are no sums. Counters, histograms and the other gauges are."""


class WorkerMetrics:
    """A collector over the workers' own metrics endpoints; ``addresses`` is asked at each scrape."""

    def __init__(self, addresses: Callable[[], Sequence[str]], registry: CollectorRegistry) -> None:
        self._addresses = addresses
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        texts = []
        for address in self._addresses():
            try:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as answer:
                    texts.append(answer.read().decode())
            except OSError as exc:  # a worker that just ended is restarted; the others still count
                log.warning("worker metrics at %s cannot be read: %s", address, exc)
        return merge(texts)


def merge(texts: Sequence[str]) -> list[Metric]:
    """Families of several expositions as one, their samples combined label set by label set."""
    merged: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], list[float]]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            series = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                series.setdefault(key, []).append(sample.value)
    for name, family in merged.items():
        default = max if name.endswith("_info") else math.fsum
        combine = _COMBINE.get(name, default)
        for (sample_name, labels), collected in values[name].items():
            family.add_sample(sample_name, dict(labels), combine(collected))
    return list(merged.values())
