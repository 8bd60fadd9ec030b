"""The memory that a model may take, and all of them together: of the GPU, or of the host."""

import math
from pathlib import Path

from serving.bundle import UnreadableBundle
from serving.host.memory import private_bytes, resident_bytes
from serving.runtime.cuda_driver import driver
from serving.runtime.providers import Provider

_HOST_BYTES = 1 << 30
"""What the batches of one graph may take there; larger ones are never run."""


class MemoryBudget:
    """For the graphs of one model, from the moment that this is made."""

    def __init__(self, provider: Provider) -> None:
        self._on_gpu = provider.on_gpu
        self._before, self._private_before = self.used_bytes(), private_bytes()
        self._pinned_before = driver().pinned_bytes if self._on_gpu else 0
        self._most = provider.memory_bytes

    def used_bytes(self) -> int:
        """By this process on the host; by everything on the GPU."""
        return driver().memory()[0] if self._on_gpu else resident_bytes()

    def taken_bytes(self) -> int:
        """By what was loaded since; 0 where nobody tells. On a GPU by everything on it."""
        now, before = self.used_bytes(), self._before
        if not self._on_gpu:  # libraries that the first model brings along are no part of it
            now, before = private_bytes(), self._private_before
        return max(0, now - before)

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


class NoRoom(UnreadableBundle):
    """The version takes more than the others leave. With fewer of them there is room."""

    def __init__(self, message: str, wanted: int) -> None:
        super().__init__(message)
        self.wanted = wanted
        """Bytes."""


class Room:
    """What all versions in service may take together, and what those that are being loaded were promised."""

    def __init__(self, most_bytes: int | None) -> None:
        self._most = math.inf if most_bytes is None else most_bytes
        self._promised: dict[Path, int] = {}

    def left(self, path: Path, staying: int) -> float:
        """Bytes for the version in that folder, beside versions that take so many together."""
        promised = sum(taken for other, taken in self._promised.items() if other != path)
        return self._most - staying - promised

    def take(self, path: Path, wanted: int, staying: int) -> None:
        """Promise them to the version. Raises NoRoom."""
        left = self.left(path, staying)
        if wanted > left:
            most = self._most - left
            raise NoRoom(
                f"it takes {_mib(wanted)} MiB of memory, want at most {_mib(max(0, left))}: of the "
                f"{_mib(self._most)} MiB of --memory-mib other versions take {_mib(most)}",
                wanted,
            )
        self._promised[path] = wanted

    def give_back(self, path: Path) -> None:
        """What was promised, if anything: the version is in service now, or never will be."""
        self._promised.pop(path, None)


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.1f}".removesuffix(".0")
