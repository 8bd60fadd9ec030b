"""The memory that a model may take: of the GPU, or of the host."""

from serving.bundle import UnreadableBundle
from serving.host.memory import resident_bytes
from serving.runtime.cuda_driver import driver
from serving.runtime.providers import Provider

_HOST_BYTES = 1 << 30
"""What the batches of one graph may take there; larger ones are never run."""


class MemoryBudget:
    """For the graphs of one model, from the moment that this is made."""

    def __init__(self, provider: Provider) -> None:
        self._on_gpu = provider.on_gpu
        self._before = self.used_bytes()
        self._pinned_before = driver().pinned_bytes if self._on_gpu else 0
        self._most = provider.memory_bytes

    def used_bytes(self) -> int:
        """By this process on the host; by everything on the GPU."""
        return driver().memory()[0] if self._on_gpu else resident_bytes()

    def is_exceeded(self) -> bool:
        """Whether the model has taken more than it may."""
        return self._on_gpu and self._most is not None and self.used_bytes() - self._before > self._most

    def may_double(self, grown: int) -> bool:
        """Whether there is room for batches of twice the rows, if those so far have taken so many bytes."""
        if not self._on_gpu:
            return 2 * grown <= _HOST_BYTES
        if 2 * (driver().pinned_bytes - self._pinned_before) > _HOST_BYTES:
            return False
        used, total = driver().memory()
        left = total - used
        if self._most is not None:
            left = min(left, self._most - (used - self._before))
        return grown <= left

    def too_small(self, graph: str) -> UnreadableBundle:
        """Why the model is refused. Another time there may be more."""
        if not self._on_gpu:
            return UnreadableBundle(f"the {graph} does not fit into memory")
        used, total = driver().memory()
        may = "" if self._most is None else f"; a model may take {self._most >> 20} MiB, --gpu-memory-mib"
        return UnreadableBundle(
            f"the {graph} does not fit into the GPU's memory: {(used - self._before) >> 20} MiB were taken, "
            f"{(total - used) >> 20} of {total >> 20} MiB are free{may}"
        )
