"""Versions that were refused: why, as of which files, and when they are tried again."""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serving.bundle import BundleError, UnreadableBundle
from serving.errors import StartupError, plain
from serving.models.version_folders import State

_RETRY_S = 60.0
"""Between two tries of a version that failed for another reason than its files: storage, memory, time."""
_REST = 10
"""Or so many times what the try took, so that one which takes long takes a tenth of the time at most."""


@dataclass(frozen=True)
class _Refusal:
    state: State
    """The version's files as they were then; a change of any is a new try."""
    reason: str
    """Told once."""
    again_at: float
    """When the same files are tried again, as ``time.monotonic`` has it; never, if the fault is theirs."""


class Refusals:
    """By the version's folder."""

    def __init__(self) -> None:
        self._by_path: dict[Path, _Refusal] = {}

    def __contains__(self, path: Path) -> bool:
        return path in self._by_path

    def holds(self, path: Path, state: State) -> bool:
        """Whether the version is not to be tried now."""
        refusal = self._by_path.get(path)
        return bool(refusal and refusal.state == state and time.monotonic() < refusal.again_at)

    def add(self, path: Path, state: State, exc: Exception, took_s: float) -> str | None:
        """The reason, if it has not been told; while a version is copied in it fails again and again."""
        before, why = self._by_path.get(path), reason(exc)
        rest = math.inf if lies_in_the_files(exc) else max(_RETRY_S, _REST * took_s)
        self._by_path[path] = _Refusal(state, why, time.monotonic() + rest)
        return None if before and before.reason == why else why

    def forget(self, path: Path) -> None:
        self._by_path.pop(path, None)

    def gone(self, there: Iterable[Path]) -> set[str]:
        """Forget those whose folders are gone; returns the names of their models."""
        gone = set(self._by_path) - set(there)
        for path in gone:
            del self._by_path[path]
        return {path.parent.name for path in gone}


def lies_in_the_files(exc: Exception) -> bool:
    return isinstance(exc, BundleError) and not isinstance(exc, UnreadableBundle)


def reason(exc: Exception) -> str:
    """One line; what others raise is named, since their words may not say it."""
    words = " ".join(str(exc).split())
    if isinstance(exc, BundleError | StartupError):
        return plain(words)
    return f"it cannot be loaded: {type(exc).__name__}: {plain(words, 200)}"
