"""Prometheus counters and histograms for the hot path.

``prometheus_client.Histogram.observe`` walks its buckets one by one under two locks, 2 to 3 µs; with three
observations a request that is more than the whole budget for metrics. This one costs a bisection, and a
count here an addition instead of four calls and a lock. They may be updated from one thread only (here: the
event loop); scraping from another thread is fine. They have no ``_created`` lines.
"""

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

T = TypeVar("T")


class _Labelled(ABC, Generic[T]):
    """What ``prometheus_client`` asks of a metric with labels; T is one label set of it."""

    def __init__(
        self, name: str, documentation: str, labelnames: Sequence[str], *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labelnames = tuple(labelnames)
        self._of_labels: dict[tuple[str, ...], T] = {}
        registry.register(self)

    def labels(self, *values: str) -> T:
        """The one of these label values, made at zero when it is new."""
        found = self._of_labels.get(values)
        return self._of_labels.setdefault(values, self._zero()) if found is None else found

    def remove(self, *values: str) -> None:
        """Show the one of these label values no more, if there is one."""
        self._of_labels.pop(values, None)

    def items(self) -> list[tuple[tuple[str, ...], T]]:
        """Label values and what stands under them."""
        return list(self._of_labels.items())

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    @abstractmethod
    def collect(self) -> Iterable[Metric]: ...

    @abstractmethod
    def _zero(self) -> T: ...

    @abstractmethod
    def _family(self) -> Metric: ...


class Count:
    """One label set of a ``LoopCounter``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class LoopCounter(_Labelled[Count]):
    """A counter with labels, exposed as ``prometheus_client`` would expose its own."""

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for values, count in self.items():
            family.add_metric(values, count.value)
        return [family]

    def _zero(self) -> Count:
        return Count()

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)


Read = Callable[[], float]


class SumGauge(_Labelled[list[Read]]):
    """A gauge whose every label set is the sum of what is told by those in its list, asked at each scrape."""

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for values, told in self.items():
            family.add_metric(values, sum(read() for read in tuple(told)))
        return [family]

    def _zero(self) -> list[Read]:
        return []

    def _family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(self._name, self._documentation, labels=self._labelnames)


class Series:
    """One label set of a ``LoopHistogram``."""

    __slots__ = ("_bounds", "_exemplars", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Observations a bucket, not cumulated; the last is beyond every bound."""
        self.total = 0.0
        self._exemplars: dict[int, tuple[int, int, float, float]] = {}
        """Of some buckets the newest observation that is traced: trace, span, value, and when it was made."""

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def exemplify(self, value: float, trace_id: int, span_id: int) -> None:
        """Show an observation that was made as an example of its bucket: in OpenMetrics, to those who ask."""
        self._exemplars[bisect_left(self._bounds, value)] = (trace_id, span_id, value, time.time())

    def exemplar(self, place: int) -> Exemplar | None:
        """Of a bucket, if there is one."""
        if place not in self._exemplars:
            return None
        trace_id, span_id, value, moment = self._exemplars[place]
        return Exemplar({"trace_id": f"{trace_id:032x}", "span_id": f"{span_id:016x}"}, value, moment)


class LoopHistogram(_Labelled[Series]):
    """A histogram with labels, exposed as ``prometheus_client`` would expose its own."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._bounds = tuple(buckets)
        super().__init__(name, documentation, labelnames, registry=registry)

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for values, series in self.items():
            counts = list(series.counts)
            buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
            seen = 0
            for place, bound in enumerate((*self._bounds, float("inf"))):
                seen += counts[place]
                shown, exemplar = (floatToGoString(bound), float(seen)), series.exemplar(place)
                buckets.append((*shown, exemplar) if exemplar else shown)
            family.add_metric(values, buckets, series.total)
        return [family]

    def _zero(self) -> Series:
        return Series(self._bounds)

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._documentation, labels=self._labelnames)
