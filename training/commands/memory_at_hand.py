"""A batch in as many parts as fit into the memory that is free: less memory, the same result."""

import logging
from typing import NamedTuple

import torch

from training.config import FitConfig
from training.data import Spec
from training.modalities import build_model, modality_of
from training.models.devices import find_device
from training.models.step_memory import bytes_of_weights, bytes_per_image, free_bytes
from training.training_error import TrainingError

SHARE = 0.8
"""Of the free memory that a step may take."""
GIB = 2**30

log = logging.getLogger(__name__)


class Need(NamedTuple):
    """Bytes of a training."""

    fixed: int
    per_image: int

    @classmethod
    def of(cls, config: FitConfig, spec: Spec) -> "Need":
        with torch.device("meta"):
            model = build_model(config, spec)
        return cls(bytes_of_weights(model), bytes_per_image(model))

    def of_step(self, images: int) -> int:
        return self.fixed + images * self.per_image


def fitted(config: FitConfig, spec: Spec, *, processes: int, is_open: bool) -> FitConfig:
    """``config``, with --accumulate as low as fits.

    Args:
        config: resolved.
        processes: that share a batch and the memory of this machine.
        is_open: whether --accumulate is for us to choose; else what does not fit is warned of.

    Raises:
        TrainingError: not even a step of one image fits.
    """
    free = free_bytes(find_device(config.device))
    if free is None:
        return config
    need, room = Need.of(config, spec), int(SHARE * free) // processes
    share = config.batch_size // processes
    if need.of_step(share // config.accumulate or 1) <= room:
        return config
    if need.of_step(1) > room:
        raise TrainingError(
            f"{modality_of(config).step_in_words(spec)} takes "
            f"{_gib(need.of_step(1))}, {_gib(free)} are free; want a smaller --image-size, --width or --depth"
        )
    parts = [n for n in range(1, share + 1) if share % n == 0 and need.of_step(share // n) <= room]
    step = need.of_step(share // config.accumulate or 1)
    wanted = f"a step takes {_gib(step)} of the {_gib(free)} that are free"
    if is_open and parts and not config.free_bits and not config.draws_inside:
        log.warning("%s: it is computed in %d parts, as --accumulate says", wanted, parts[0])
        return FitConfig.parse(config.model_dump() | {"accumulate": parts[0]})
    log.warning("%s; a smaller --batch-size or a higher --accumulate makes it less", wanted)
    return config


def in_words(config: FitConfig, spec: Spec) -> str:
    """What a step takes, and what is free."""
    step = Need.of(config, spec).of_step(max(1, config.batch_size // config.accumulate))
    free = free_bytes(find_device(config.device))
    return f"about {_gib(step)} for a step" + ("" if free is None else f", {_gib(free)} are free")


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
