"""What the card is, and the most it does: matrix products and copies, measured, not from a data sheet."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_SIDE = {"cuda": 8192, "cpu": 1024}
"""Of the square matrices."""
_COPIED_BYTES = {"cuda": 4 << 30, "cpu": 256 << 20}
_REPEATS = 20


@dataclass(frozen=True)
class Ceilings:
    flops: dict[str, float]
    """Floating-point operations a second of a large matrix product, by type."""
    bytes_per_s: float
    """Read and written by a copy on the device."""

    def shares(self, flops_per_s: float, bytes_per_s: float) -> dict[str, float]:
        """Of the quickest type's matrix products and of the memory's bandwidth."""
        return {
            "of_matrix_rate": flops_per_s / max(self.flops.values()),
            "of_bandwidth": bytes_per_s / self.bytes_per_s,
        }


def describe(device: str) -> dict[str, str]:
    if device == "cpu":
        return {"card": "none: a rehearsal on the CPU, not to be quoted"}
    name, driver, memory = query("name", "driver_version", "memory.total")
    return {"card": name, "driver": driver, "memory_mib": memory}


def query(*fields: str) -> list[str]:
    """What ``nvidia-smi`` says of the first card. Raises OSError or CalledProcessError without one."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [value.strip() for value in line.split(",")]


def ceilings(device: str) -> Ceilings:
    return Ceilings({name: _product(device, kind) for name, kind in _types(device).items()}, _copy(device))


def seconds(call: Callable[[], object], device: str) -> float:
    """Of one call, the median; the device has finished when the clock is read."""
    for _ in range(3):
        call()
    times = []
    for _ in range(_REPEATS):
        _finish(device)
        start = time.perf_counter()
        call()
        _finish(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


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
