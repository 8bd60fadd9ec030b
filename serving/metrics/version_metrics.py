"""The series of one version of a model. They are there while it is in service: their number stays bounded,
however many versions there were."""

from serving.metrics.instruments import Count, Series
from serving.metrics.registry import Metrics


class VersionMetrics:
    """Shown from ``show`` to ``hide``."""

    def __init__(self, metrics: Metrics, model: str, version: int) -> None:
        self._metrics = metrics
        self._labels = (model, str(version))
        self._by_code: dict[str, Count] = {}
        self._duration: Series | None = None

    def show(self, *, memory_bytes: int, **info: str) -> None:
        self._metrics.model_info.labels(*self._labels).info(info)
        self._metrics.version_memory.labels(*self._labels).set(memory_bytes)
        self._duration = self._metrics.version_duration.labels(*self._labels)
        self._by_code = {"OK": self._metrics.version_requests.labels(*self._labels, "OK")}

    def hide(self) -> None:
        """Calls that end later are not counted here any more."""
        self._duration = None
        for code in self._by_code:
            self._metrics.version_requests.remove(*self._labels, code)
        self._metrics.version_duration.remove(*self._labels)
        self._metrics.version_memory.remove(*self._labels)
        self._metrics.model_info.remove(*self._labels)

    def done(self, code: str, seconds: float) -> None:
        """One call answered, with the name of its gRPC code."""
        if self._duration is None:
            return
        count = self._by_code.get(code)
        if count is None:
            count = self._by_code[code] = self._metrics.version_requests.labels(*self._labels, code)
        count.value += 1
        self._duration.observe(seconds)
