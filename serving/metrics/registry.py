"""Every Prometheus metric of the service. Names are a promise to users (prefix ``vae_``, base units).

Label sets that are known in advance are created at once, so that a scrape shows a zero before the
first event instead of nothing.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Gauge, Info, make_wsgi_app
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from serving.metrics.instruments import Count, LoopCounter, LoopHistogram, SumGauge

_SECONDS = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5,
    1, 2.5, 5, 10,
)  # fmt: skip
"""Dense below 100 ms, where a VAE answers (after gRFC A66)."""
_ROWS = tuple(2**power for power in range(13))
_CUT_REASONS = ("full", "executor_free")
_REJECT_REASONS = ("queue_full", "deadline")

TRANSPORTS = ("grpc", "http")

RELOAD_OUTCOMES = ("ok", "refused")
SPAN_OUTCOMES = ("sent", "dropped", "failed")

UNKNOWN = "_unknown"
"""Label of a request for a model that is not served: client text never becomes a label."""


class LatentFigures(Protocol):
    """What is known of the posteriors of live traffic; NaN where nothing is."""

    def mean_shift(self) -> float: ...

    def variance_log_ratio(self) -> float: ...

    def kl(self) -> float: ...

    def active_units(self) -> float: ...


class _NoFigures:
    def mean_shift(self) -> float:
        return math.nan

    variance_log_ratio = kl = active_units = mean_shift


class _OfWorker:
    """Says in every sample of a collector which worker it is of."""

    def __init__(self, collector: Any, worker: int) -> None:
        self._collector = collector
        self._worker = str(worker)

    def collect(self) -> Iterator[Metric]:
        for family in self._collector.collect():
            labelled = Metric(family.name, family.documentation, family.type, family.unit)
            labelled.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in family.samples
            ]
            yield labelled

    def restricted_registry(self, names: Iterable[str]) -> "_OfWorker":
        return _OfWorker(self._collector.restricted_registry(names), int(self._worker))


class Metrics:
    """All metrics, in a registry of their own so that tests and several servers do not collide."""

    def __init__(self, worker: int | None = None) -> None:
        """``worker`` becomes a label of every series: it tells several processes behind one port apart."""
        self._worker = worker
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests()
        self._batching()
        self._models()
        self._versions()
        self._latent_space()
        self.rejected.labels(UNKNOWN, "calls")

    def page(self) -> Any:
        """A WSGI application that shows them all."""
        return make_wsgi_app(self._shown())

    def text(self) -> bytes:
        """The same, in the format that it has unless another is asked for."""
        return prometheus.generate_latest(self._shown())

    def _shown(self) -> Any:
        return self.registry if self._worker is None else _OfWorker(self.registry, self._worker)

    def _requests(self) -> None:
        r, call, model = self.registry, ("model", "method"), ("model",)
        self.requests = LoopCounter(
            "vae_requests", "RPCs answered, by gRPC code.", (*call, "transport", "code"), registry=r
        )
        self.request_duration = LoopHistogram(
            "vae_request_duration_seconds", "From request to answer.", call, buckets=_SECONDS, registry=r
        )
        self.inflight = Gauge("vae_inflight_requests", "RPCs being answered.", call, registry=r)
        self.rejected = prometheus.Counter(
            "vae_rejected", "Requests refused at admission.", (*model, "reason"), registry=r
        )
        left = "Seconds until the TLS certificate expires; NaN without TLS."
        self.certificate_expiry = Gauge("vae_tls_certificate_expiry_seconds", left, registry=r)
        self.certificate_expiry.set(math.nan)
        self.samples = LoopCounter(
            "vae_samples", "Images sampled, by source.", (*model, "source"), registry=r
        )
        self.pool_samples = LoopCounter(
            "vae_pool_samples", "Images sampled from pools, by pool.", (*model, "pool"), registry=r
        )

    def _batching(self) -> None:
        r, graph = self.registry, ("model", "graph")
        self.queue_duration = LoopHistogram(
            "vae_queue_duration_seconds", "From queue to first batch.", graph, buckets=_SECONDS, registry=r
        )
        self.inference_duration = LoopHistogram(
            "vae_inference_duration_seconds", "Running one batch.", graph, buckets=_SECONDS, registry=r
        )
        self.batch_rows = LoopHistogram(
            "vae_batch_rows", "Rows in a batch.", graph, buckets=_ROWS, registry=r
        )
        self.batch_padding_rows = LoopCounter(
            "vae_batch_padding_rows", "Rows added to reach a fixed batch size.", graph, registry=r
        )
        self.batches = LoopCounter("vae_batches", "Batches run.", (*graph, "cut_reason"), registry=r)
        self.queue_rows = SumGauge("vae_queue_rows", "Rows waiting for a batch.", graph, registry=r)
        self.queue_limit_rows = Gauge("vae_queue_limit_rows", "Rows that may wait.", graph, registry=r)

    def _models(self) -> None:
        r, model = self.registry, ("model",)
        self.model_ready = Gauge("vae_model_ready", "1 while the model is in service.", model, registry=r)
        self.model_load = Gauge(
            "vae_model_load_seconds", "Verifying, loading and warming up.", model, registry=r
        )
        self.reloads = prometheus.Counter(
            "vae_reloads", "Versions put into service or refused.", (*model, "outcome"), registry=r
        )
        refused = "Versions that were refused and would be in service otherwise."
        self.refused_versions = Gauge("vae_refused_versions", refused, model, registry=r)
        self.onnxruntime = Info("vae_onnxruntime", "ONNX Runtime in use.", registry=r)
        self.gpu_memory = Gauge(
            "vae_gpu_memory_bytes", "Memory of the GPU, in use by everything on it, and in all.", ("state",),
            registry=r,
        )  # fmt: skip
        seconds = "Seconds that batches took to be copied to the GPU and back, and to be computed there."
        self.gpu_seconds = LoopCounter("vae_gpu_seconds", seconds, (*model, "graph", "part"), registry=r)

    def _versions(self) -> None:
        """Of each version there are series while it is in service."""
        r, version = self.registry, ("model", "version")
        self.model_info = Info("vae_model", "The bundles in service.", version, registry=r)
        known = "Versions that the server knows of, by what it does with them."
        self.model_versions = Gauge("vae_model_versions", known, ("model", "state"), registry=r)
        took = "Memory that the version took as it was loaded."
        self.version_memory = Gauge("vae_version_memory_bytes", took, version, registry=r)
        self.version_requests = LoopCounter(
            "vae_version_requests", "Requests answered by the version, by gRPC code.", (*version, "code"),
            registry=r,
        )  # fmt: skip
        self.version_duration = LoopHistogram(
            "vae_version_request_duration_seconds", "Answering them.", version, buckets=_SECONDS, registry=r
        )

    def _latent_space(self) -> None:
        """Of what the encoder is given: Encode, Reconstruct, and images to walk between or to sample near."""
        r, model = self.registry, ("model",)
        drift = "Posterior means of live images against the training set's."
        self.latent_drift = Gauge("vae_latent_drift", drift, (*model, "statistic"), registry=r)
        kl = "KL(q(z|x) || N(0, I)), the rate, of live images, nats per image; NaN for a learned prior."
        self.posterior_kl = Gauge("vae_posterior_kl_nats", kl, model, registry=r)
        active = "Latents whose posterior mean varies over live images."
        self.active_units = Gauge("vae_active_units", active, model, registry=r)

    def watch_latents(self, model: str, figures: LatentFigures | None) -> None:
        """Ask these for the figures of a model's posteriors at each scrape; without any they are NaN."""
        shown = figures or _NoFigures()
        self.latent_drift.labels(model, "mean_shift").set_function(shown.mean_shift)
        self.latent_drift.labels(model, "variance_log_ratio").set_function(shown.variance_log_ratio)
        self.posterior_kl.labels(model).set_function(shown.kl)
        self.active_units.labels(model).set_function(shown.active_units)

    def watch_gpu(self, memory: Callable[[], tuple[int, int]]) -> None:
        """Ask this for the bytes in use, and in all, at each scrape; NaN if the GPU does not answer."""

        def said(place: int) -> float:
            try:
                return memory()[place]
            except (RuntimeError, MemoryError):
                return math.nan

        self.gpu_memory.labels("used").set_function(partial(said, 0))
        self.gpu_memory.labels("total").set_function(partial(said, 1))

    def count_spans(self) -> dict[str, Count]:
        """By what became of them. Asked for once, by a server that traces its calls."""
        spans = LoopCounter(
            "vae_trace_spans", "Spans of calls, by outcome.", ("outcome",), registry=self.registry
        )
        return {outcome: spans.labels(outcome) for outcome in SPAN_OUTCOMES}

    def watch_certificate(self, seconds_left: Callable[[], float]) -> None:
        """Ask this at each scrape."""
        self.certificate_expiry.set_function(seconds_left)

    def calls_by_code(self) -> dict[str, int]:
        """Calls answered since the start, by the name of their code."""
        calls: Counter[str] = Counter()
        for (*_, code), count in self.requests.items():
            calls[code] += int(count.value)
        return {code: calls[code] for code in sorted(calls) if calls[code]}

    def start_model(
        self, model: str, *, methods: Sequence[str], sources: Sequence[str], pools: Sequence[str]
    ) -> None:
        """Make the series of a model appear at zero."""
        for method in methods:
            for transport in TRANSPORTS:
                self.requests.labels(model, method, transport, "OK")
            self.request_duration.labels(model, method)
            self.inflight.labels(model, method)  # CallMetrics takes over with the first call
        for reason in _REJECT_REASONS:
            self.rejected.labels(model, reason)
        for source in sources:
            self.samples.labels(model, source)
        for pool in pools:
            self.pool_samples.labels(model, pool)
        for outcome in RELOAD_OUTCOMES:
            self.reloads.labels(model, outcome)


class CallMetrics:
    """The series of one model and method, looked up once so that the hot path does not."""

    def __init__(self, metrics: Metrics, model: str, method: str) -> None:
        self.inflight = 0
        self._labels = (model, method)
        self._requests = metrics.requests
        self._counts: dict[tuple[str, str], Count] = {}
        self._duration = metrics.request_duration.labels(model, method)
        metrics.inflight.labels(model, method).set_function(lambda: self.inflight)

    def done(self, code: str, transport: str, seconds: float) -> None:
        """One call answered, with the name of its gRPC code."""
        count = self._counts.get((transport, code))
        if count is None:
            count = self._counts[transport, code] = self._requests.labels(*self._labels, transport, code)
        count.value += 1
        self._duration.observe(seconds)


class GraphMetrics:
    """The series of one graph, looked up once so that the hot path does not."""

    def __init__(self, metrics: Metrics, model: str, graph: str) -> None:
        self.queue_duration = metrics.queue_duration.labels(model, graph)
        self._queue_rows = metrics.queue_rows.labels(model, graph)
        self._inference_duration = metrics.inference_duration.labels(model, graph)
        self._batch_rows = metrics.batch_rows.labels(model, graph)
        self._batches = {reason: metrics.batches.labels(model, graph, reason) for reason in _CUT_REASONS}
        self._rejected = {reason: metrics.rejected.labels(model, reason) for reason in _REJECT_REASONS}
        self._padding = metrics.batch_padding_rows.labels(model, graph)

    def watch_queue(self, rows: Callable[[], int]) -> None:
        """Ask this at each scrape; several versions of a model have a queue each."""
        self._queue_rows.append(rows)

    def forget_queue(self, rows: Callable[[], int]) -> None:
        self._queue_rows.remove(rows)

    def cut(self, reason: str) -> None:
        self._batches[reason].value += 1

    def batch(self, rows: int, seconds: float, padding: int) -> None:
        self._batch_rows.observe(rows)
        self._padding.value += padding
        self._inference_duration.observe(seconds)

    def rejected(self, reason: str) -> None:
        self._rejected[reason].inc()
