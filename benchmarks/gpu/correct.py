"""The step ``correct``: the card answers what the CPU does, twice the same, whoever shares a batch."""

import math
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu import bundles, servers, step
from benchmarks.gpu.runner import ROOT
from benchmarks.gpu.step import Record, Told
from serving.client import Client, VaeError

Rows = NDArray[np.float32]
Answers = dict[str, Rows]

_MODELS = ("toy", "conv")
_SIZES = {"cuda": (1, 2, 3, 7, 64, 65, 1000), "cpu": (1, 2, 3, 7, 64, 65)}
_SEED = 7
_SAMPLES = 8
"""Of each image's posterior, for Score."""
_TOLERANCE = 1e-4
_SAME_TOLERANCE = 1e-5
"""What the documentation promises of the same row on the same machine."""
_TIMEOUT_S = 120.0
_REPEATS = 30
"""Requests of few rows while others are in the batch."""


def work(told: Told, record: Record) -> None:
    repository = bundles.repository(told, "conv")
    with ExitStack() as stack:
        tests = stack.enter_context(_Tests(told.work / "pytest.log"))
        addresses = _servers(told, repository, stack)
        clients = [stack.enter_context(Client(address, timeout_s=_TIMEOUT_S)) for address in addresses]
        for model in _MODELS:
            _compare(model, repository, told, record, clients)
            try:
                _repeat(model, repository, record, clients[1], addresses[1])
            except VaeError as exc:
                record.check(f"{model}: the same rows", False, str(exc), "answers")
        record.check("tests/integration/test_cuda*.py", *tests.outcome(told.left_s()), "passed")


def _servers(told: Told, repository: Path, stack: ExitStack) -> list[str]:
    """Addresses of one on the CPU and of one on the device, started together."""
    with ThreadPoolExecutor() as pool:
        starts = [
            servers.server(repository, provider, told.work / f"correct-{place}.log", 1024)
            for place, provider in enumerate(("cpu", told.device))
        ]
        entering = [pool.submit(start.__enter__) for start in starts]
        for start, entered in zip(starts, entering, strict=True):
            if not entered.exception():
                stack.push(start.__exit__)
        return [f"127.0.0.1:{entered.result().port}" for entered in entering]


def _compare(model: str, repository: Path, told: Told, record: Record, clients: list[Client]) -> None:
    worst: dict[str, float] = {}
    latents_differ = 0
    for rows in _SIZES[told.device]:
        ask = _questions(model, repository, rows)
        for method, question in ask.items():
            try:
                cpu, device = (question(client) for client in clients)
            except VaeError as exc:
                record.check(f"{model} {method} of {rows} rows", False, str(exc), "an answer")
                continue
            for name, wanted in cpu.items():
                if name == "latents":
                    latents_differ += int((wanted != device[name]).sum())
                    continue
                scale = np.maximum(1.0, np.abs(wanted)) if method == "Score" else 1.0
                difference = float((np.abs(wanted - device[name]) / scale).max())
                key = f"{model} {method} {name}"
                worst[key] = max(worst.get(key, 0.0), _known(difference))
                record.row("differences", {"what": key, "rows": rows, "largest": difference})
    record.check(f"{model} Sample: latents that differ", not latents_differ, latents_differ, "0")
    for key, difference in worst.items():
        record.check(f"{key}: CPU to device", difference <= _TOLERANCE, difference, f"<= {_TOLERANCE}")
    record.figure(f"{model} largest difference", max(worst.values(), default=None))


def _known(difference: float) -> float:
    """NaN is the largest of all."""
    return float("inf") if math.isnan(difference) else difference


def _questions(model: str, repository: Path, rows: int) -> dict[str, Callable[[Client], Answers]]:
    """Score's differences are relative where a score is beyond 1."""
    images = servers.images(repository, model, rows)
    latents = servers.latents(repository, model, rows)

    def sample(client: Client) -> Answers:
        came = client.sample(model, rows, seed=_SEED, latents=True)
        assert came.latents is not None
        return {"latents": came.latents, "images": came.images}

    def encode(client: Client) -> Answers:
        came = client.encode(model, images)
        return {"mean": came.mean, "log_var": came.log_var}

    def score(client: Client) -> Answers:
        came = client.score(model, images, samples=_SAMPLES, seed=_SEED)
        return {name: getattr(came, name) for name in ("nelbo", "distortion", "rate", "nll")}

    asked: dict[str, Callable[[Client], Answers]] = {
        "Sample": sample,
        "Encode": encode,
        "Decode": lambda client: {"images": client.decode(model, latents).images},
        "Reconstruct": lambda client: {"images": client.reconstruct(model, images).images},
    }
    if "score" in servers.manifest(repository, model).graphs:
        asked["Score"] = score
    return asked


def _repeat(model: str, repository: Path, record: Record, client: Client, address: str) -> None:
    """The same rows on the device: twice; among others of one request; beside other requests."""
    latents = servers.latents(repository, model, 1000)
    few = latents[:3]
    first = client.decode(model, few).images
    again = [client.decode(model, few).images for _ in range(5)]
    _same(f"{model}: the same rows again", first, again, record)
    among = [client.decode(model, latents[:rows]).images[:3] for rows in (7, 64, 65, 1000)]
    _same(f"{model}: the same rows among others", first, among, record)
    stop = threading.Event()

    def others(rows: int) -> None:
        with Client(address, timeout_s=_TIMEOUT_S) as other:
            while not stop.is_set():
                other.decode(model, latents[-rows:])

    with ThreadPoolExecutor() as pool:
        crowd = [pool.submit(others, rows) for rows in (1, 5, 61)]
        try:
            beside = [client.decode(model, few).images for _ in range(_REPEATS)]
        finally:
            stop.set()
        for one in crowd:
            one.result()
    _same(f"{model}: the same rows beside other requests", first, beside, record)


def _same(what: str, first: Any, others: list[Any], record: Record) -> None:
    largest = max(_known(float(np.abs(first - other).max())) for other in others)
    equal = sum(bool((first == other).all()) for other in others)
    came = f"{largest:.2g} ({equal} of {len(others)} equal to the bit)"
    record.check(what, largest <= _SAME_TOLERANCE, came, f"<= {_SAME_TOLERANCE}")


class _Tests:
    """The CUDA tests of the repository, beside everything else."""

    def __init__(self, log: Path) -> None:
        self._log = log
        files = sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("tests/integration/test_cuda*.py"))
        self._command = [
            sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files
        ]  # fmt: skip

    def __enter__(self) -> "_Tests":
        with self._log.open("wb") as words:
            self._process = subprocess.Popen(self._command, stdout=words, stderr=subprocess.STDOUT, cwd=ROOT)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # nothing, if it has ended
        self._process.wait()

    def outcome(self, timeout_s: float) -> tuple[bool, str]:
        """Whether they passed, and the last line."""
        try:
            code = self._process.wait(max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False, "had not ended in time"
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return code == 0, lines[-1] if lines else f"exit code {code}"


if __name__ == "__main__":
    step.main("correct", work)
