"""The ways in which a step of training can run, each for a few seconds: which of them pays on this card?

All take the same steps of the preset ``gpu``, on images that lie on the card.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from benchmarks.gpu.utilisation import watched
from training.config import FitConfig
from training.data import Dataset
from training.fit.gpu import GraphedStep, chosen_objective, is_recorded
from training.fit.loop import batches_of
from training.fit.state import State
from training.fit.step import train_step
from training.modalities import resolve
from training.modalities.image.networks import conv

_FIRST = 6
"""Steps that are not timed: warm-up, recording, compiling."""
_TRIED = 10
"""Steps that tell how many fit."""


@dataclass(frozen=True)
class Variant:
    """What differs from the step of the preset."""

    values: dict[str, Any] = field(default_factory=dict)
    """Of the config."""
    channels_last: bool = True
    fused: bool = True
    searched: bool = True
    """cuDNN tries its kernels."""


def _eager(**values: Any) -> dict[str, Any]:
    return {"execution": "eager", "optimizer": "adamw", **values}


def _graph(**values: Any) -> dict[str, Any]:
    return {"execution": "graph", "optimizer": "adamw", **values}


VARIANTS = {
    "eager_float32": Variant(_eager(precision="float32"), fused=False, searched=False),
    "eager_bfloat16_channels_first": Variant(_eager(), channels_last=False, fused=False, searched=False),
    "eager_bfloat16": Variant(_eager(), fused=False, searched=False),
    "eager_fused": Variant(_eager(), searched=False),
    "eager_searched": Variant(_eager()),
    "eager_muon": Variant(_eager(optimizer="muon")),
    "graph_float32": Variant(_graph(precision="float32")),
    "graph": Variant(_graph()),
    "graph_channels_first": Variant(_graph(), channels_last=False),
    "graph_muon": Variant(_graph(optimizer="muon")),
    "graph_muon_128": Variant(_graph(optimizer="muon", batch_size=128)),
    "graph_muon_512": Variant(_graph(optimizer="muon", batch_size=512)),
    "graph_muon_width_32": Variant(_graph(optimizer="muon", width=32)),
    "graph_muon_width_96": Variant(_graph(optimizer="muon", width=96)),
    "compiled": Variant(_eager(execution="compiled")),
    "compiled_muon": Variant(_eager(execution="compiled", optimizer="muon")),
}
ON_CPU = ("eager_float32", "eager_bfloat16_channels_first", "eager_fused", "eager_muon")
"""Of a rehearsal: nothing is recorded there, and compiling takes minutes."""


@dataclass(frozen=True)
class Speed:
    variant: str
    batch_size: int
    steps: int
    ms: float
    """A step, until the device has finished."""
    host_ms: float
    """A step, until the host has asked for it: close to ``ms``, the host is what holds it up."""
    images_per_s: float
    first_s: float
    """The steps before, with recording and compiling."""
    utilisation: float | None
    """Share of the time in which the card computed, as nvidia-smi says."""
    memory_mib: float | None
    """At most, of tensors."""


def speeds(
    names: list[str], settings: dict[str, Any], dataset: Dataset, device: str, seconds: float
) -> Iterator[dict[str, Any]]:
    """Of each variant, or why it could not be measured."""
    for name in names:
        try:
            yield asdict(_measured(name, settings, dataset, torch.device(device), seconds))
        except Exception as exc:  # a card's time is dear: go on with the next
            reason = traceback.format_exc()[-2000:]
            yield {"variant": name, "failed": f"{type(exc).__name__}: {exc}"[:500], "traceback": reason}
        if device == "cuda":
            torch.cuda.empty_cache()


def _measured(
    name: str, settings: dict[str, Any], dataset: Dataset, device: torch.device, seconds: float
) -> Speed:
    variant = VARIANTS[name]
    config = resolve(FitConfig.parse(settings | variant.values), dataset)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with _laid_out(variant):
        state = State.fresh(config, dataset.image_shape, device)
        if not variant.channels_last:
            state.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if not variant.fused:
            state.optimizers = {
                "optimizer": torch.optim.AdamW(state.model.parameters(), fused=False, foreach=False)
            }
        step = stepper(state, dataset, config)
        first_s, _ = _timed(step, _FIRST, device)
        tried_s, _ = _timed(step, _TRIED, device)
        count = max(1, int(seconds * _TRIED / tried_s))
        with watched(device.type) as use:
            taken_s, host_s = _timed(step, count, device)
    return Speed(
        variant=name,
        batch_size=config.batch_size,
        steps=count,
        ms=1e3 * taken_s / count,
        host_ms=1e3 * host_s / count,
        images_per_s=count * config.batch_size / taken_s,
        first_s=first_s,
        utilisation=use.share,
        memory_mib=torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None,
    )


def stepper(state: State, dataset: Dataset, config: FitConfig) -> Callable[[], None]:
    """A call takes the next step, drawing its batch, as the loop does."""
    batches, bound = batches_of(state, dataset, config), chosen_objective(config)
    graphed = GraphedStep(state, config, bound) if is_recorded(state, config) else None
    rate = config.learning_rate / 10  # nothing is to diverge here

    def step() -> None:
        batch = batches.at(state.step)
        if graphed:
            terms = graphed(batch[0], beta=1.0, learning_rate=rate)
        else:
            terms = train_step(state, batch, config, beta=1.0, learning_rate=rate, bound=bound)
        state.means.add(terms)

    return step


def seconds_a_step(step: Callable[[], None], device: torch.device, seconds: float) -> float:
    """After the first steps, over about so many seconds."""
    _timed(step, _FIRST, device)
    tried_s, _ = _timed(step, _TRIED, device)
    count = max(1, int(seconds * _TRIED / tried_s))
    return _timed(step, count, device)[0] / count


def _timed(step: Callable[[], None], count: int, device: torch.device) -> tuple[float, float]:
    """Seconds until the device has finished, and until the host has."""
    _finish(device)
    began = time.perf_counter()
    for _ in range(count):
        step()
    asked = time.perf_counter()
    _finish(device)
    return time.perf_counter() - began, asked - began


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def _laid_out(variant: Variant) -> Iterator[None]:
    """The network lays its maps out channels-last by itself; without that, and with or without the search."""

    def as_they_are(maps: Tensor) -> Tensor:
        return maps

    layout = conv.channels_last if variant.channels_last else as_they_are
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = variant.searched
    try:
        with mock.patch.object(conv, "channels_last", layout):
            yield
    finally:
        torch.backends.cudnn.benchmark = before
