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
        self._most = provider.memory_bytes

    def used_bytes(self) -> int:
        """By this process on the host; by everything on the GPU."""
        return driver().memory()[0] if self._on_gpu else resident_bytes()

    def may_double(self, grown: int) -> bool:
        """Whether there is room for batches of twice the rows, if those so far have taken so many bytes."""
        if not self._on_gpu:
            return 2 * grown <= _HOST_BYTES
        used, total = driver().memory()
        left = total - used
        if self._most is not None:
            left = min(left, self._most - (used - self._before))
        return grown <= left

    def too_small(self, graph: str) -> UnreadableBundle:
        """Why the model is refused. Another time there may be more."""
        if not self._on_gpu:
            return UnreadableBundle(f"the {graph} cannot run a batch of one row: memory is short")
        used, total = driver().memory()
        may = "" if self._most is None else f"; a model may take {self._most >> 20} MiB, --gpu-memory-mib"
        took = used - self._before
        return UnreadableBundle(
            f"the {graph} cannot run a batch of one row: it took {took >> 20} MiB of the GPU's memory and "
            f"wants more; {total - used >> 20} of {total >> 20} MiB are free{may}"
        )
