"""What a server's own metrics say: a scrape of them, and what is read off one."""

import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from serving.metrics.registry import UNKNOWN

Key = tuple[str, frozenset[tuple[str, str]]]
"""Name and labels of a sample."""


@dataclass(frozen=True)
class Page:
    """The samples of one scrape, or of the time between two."""

    samples: Mapping[Key, float]

    @classmethod
    def of(cls, port: int) -> "Page":
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
            text = response.read().decode()
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def __sub__(self, earlier: "Page") -> "Page":
        return Page({key: value - earlier.samples.get(key, 0.0) for key, value in self.samples.items()})

    def calls(self, method: str) -> dict[str, int]:
        """By code."""
        found = self._summed("vae_requests_total", "code", method=method)
        return {code: count for code, count in sorted(found.items()) if count}

    def rejections(self) -> dict[str, int]:
        return {
            reason: count for reason, count in self._summed("vae_rejected_total", "reason").items() if count
        }

    def _summed(self, name: str, by: str, **wanted: str) -> Counter[str]:
        sums: Counter[str] = Counter()
        for (sample, pairs), value in self.samples.items():
            labels = dict(pairs)
            if sample == name and wanted.items() <= labels.items():
                sums[labels[by]] += int(value)
        return sums


def refused_p99_ms(page: Page) -> float | None:
    """Of calls refused before their message was read; those are of no model. The bucket's upper end."""
    buckets = sorted(
        (float(labels["le"]), value)
        for (name, pairs), value in page.samples.items()
        for labels in (dict(pairs),)
        if name == "vae_request_duration_seconds_bucket" and labels["model"] == UNKNOWN
    )
    if not buckets or not buckets[-1][1]:
        return None
    return next(upper * 1e3 for upper, count in buckets if count >= 0.99 * buckets[-1][1])
