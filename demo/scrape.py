"""Prometheus lines that moved between two scrapes."""

import math
import urllib.request


def scrape(address: str) -> dict[str, float]:
    """Value by metric and labels, of this project's metrics; histograms by their sum and count."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if line.startswith("vae_"))
    left_out = ("_bucket{", "_created{", "_created ")
    return {name: float(value) for name, _, value in samples if not any(part in name for part in left_out)}


def moved(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """``name{labels} before → after``, in order of appearance."""
    return [
        f"{name} {before.get(name, 0):g} → {value:g}"
        for name, value in after.items()
        if value != before.get(name, 0) and not math.isnan(value)
    ]
