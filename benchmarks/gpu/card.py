"""What the card is, and the most it does: matrix products and copies, measured, not from a data sheet."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.gpu.smi import query
from benchmarks.serving import machine
from training.export.provenance import versions

_SIDE = {"cuda": 8192, "cpu": 512}
"""Of the square matrices."""
_COPIED_BYTES = {"cuda": 2 << 30, "cpu": 64 << 20}
_COMMIT = "VAESERVE_COMMIT"
"""Variable with the commit, for machines without git."""
_ENOUGH_S = {"cuda": 0.4, "cpu": 0.05}
"""Of calls, to know how long one takes; but so many of them at least and at most."""
_FEWEST, _FEWEST_SLOW, _MOST = 5, 3, 500
_SLOW_S = 0.3


@dataclass(frozen=True)
class Ceilings:
    flops: dict[str, float]
    """Floating-point operations a second of a large matrix product, by type."""
    bytes_per_s: float
    """Read and written by a copy on the device."""

    def shares(self, flops_per_s: float, bytes_per_s: float) -> dict[str, float]:
        """Of the products of float32 and of the memory's bandwidth."""
        return {
            "of_matrix_rate": flops_per_s / self.flops["float32"],
            "of_bandwidth": bytes_per_s / self.bytes_per_s,
        }


def describe(device: str) -> dict[str, Any]:
    facts = machine.describe()
    commit = os.environ.get(_COMMIT) or facts.pop("commit")
    found = {
        "python": platform.python_version(),
        **versions(),
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "onnxruntime_build": _onnxruntime_build(),
    }
    return {**_card(device), "commit": commit, "versions": found, "machine": facts}


def _onnxruntime_build() -> str:
    try:
        import onnxruntime as ort
    except ImportError:  # training needs none
        return "not installed"
    return str(getattr(ort, "get_build_info", lambda: "unknown")())


def _card(device: str) -> dict[str, str]:
    if device == "cpu":
        return {"card": "none: a rehearsal on the CPU, not to be quoted"}
    try:
        name, driver, memory = query("name", "driver_version", "memory.total")
    except (OSError, subprocess.SubprocessError):
        return {"card": torch.cuda.get_device_name(0), "driver": "not known: no nvidia-smi"}
    return {"card": name, "driver": driver, "memory_mib": memory}


def ceilings(device: str) -> Ceilings:
    return Ceilings({name: _product(device, kind) for name, kind in _types(device).items()}, _copy(device))


def seconds(call: Callable[[], object], device: str) -> float:
    """Of one call, the median; the device has finished when the clock is read."""
    first = min(_timed(call, device) for _ in range(2))
    fewest = _FEWEST_SLOW if first > _SLOW_S else _FEWEST
    repeats = int(min(_MOST, max(fewest, _ENOUGH_S[device] / first)))
    times = sorted(_timed(call, device) for _ in range(repeats))
    return times[len(times) // 2]


def _timed(call: Callable[[], object], device: str) -> float:
    _finish(device)
    start = time.perf_counter()
    call()
    _finish(device)
    return time.perf_counter() - start


def _types(device: str) -> dict[str, torch.dtype]:
    if device == "cpu":
        return {"float32": torch.float32}
    return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def _product(device: str, kind: torch.dtype) -> float:
    side = _SIDE[device]
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    return float(2 * side**3 / seconds(lambda: a @ b, device))


def _copy(device: str) -> float:
    source = torch.ones(_COPIED_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), device)


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
