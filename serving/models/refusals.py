"""Versions that were refused: why, as of which files, and when they are tried again."""

import math
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from serving.bundle import BundleError, UnreadableBundle
from serving.errors import StartupError, plain
from serving.models.memory_budget import NoRoom
from serving.models.version_folders import State

_RETRY_S = 60.0
"""Between two tries of a version that failed for another reason than its files: storage, memory, time."""
_REST = 10
"""Or so many times what the try took, so that one which takes long takes a tenth of the time at most."""
_A_PATH = re.compile(r"(^|[^\w.…-])/\S")
_ELSEWHERE = "it cannot be loaded; the server's log says why"


@dataclass(frozen=True)
class _Refusal:
    state: State
    """The version's files as they were then; a change of any is a new try."""
    reason: str
    """Told once."""
    for_callers: str
    wanted: int | None
    """Bytes, of a version for which there was no room: it is tried again when there is."""
    again_at: float
    """When the same files are tried again, as ``time.monotonic`` has it; never, if the fault is theirs."""


class Refusals:
    """By the version's folder."""

    def __init__(self) -> None:
        self._by_path: dict[Path, _Refusal] = {}

    def __contains__(self, path: Path) -> bool:
        return path in self._by_path

    def for_callers(self, path: Path) -> str:
        """Why the version is refused, in words of ours and without a path of the host."""
        return self._by_path[path].for_callers

    def holds(self, path: Path, state: State, fits: Callable[[int], bool]) -> bool:
        """Whether the version is not to be tried now; ``fits`` says for how many bytes there is room."""
        refusal = self._by_path.get(path)
        if not refusal or refusal.state != state:
            return False
        if refusal.wanted is not None:
            return not fits(refusal.wanted)
        return time.monotonic() < refusal.again_at

    def add(self, path: Path, state: State, exc: Exception, took_s: float) -> str | None:
        """The reason, if it has not been told; while a version is copied in it fails again and again."""
        before, why = self._by_path.get(path), reason(exc)
        rest = math.inf if lies_in_the_files(exc) else max(_RETRY_S, _REST * took_s)
        wanted = exc.wanted if isinstance(exc, NoRoom) else None
        again_at = time.monotonic() + rest
        self._by_path[path] = _Refusal(state, why, for_callers(exc, path), wanted, again_at)
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


def said_of(exc: Exception) -> tuple[str, str]:
    """Words of ours, and those of others; what these raise is named, since their words may not say it."""
    if isinstance(exc, BundleError):
        return exc.message, exc.inside
    words = " ".join(str(exc).split())
    if isinstance(exc, StartupError):
        return plain(words), ""
    return "it cannot be loaded", f"{type(exc).__name__}: {plain(words, 200)}"


def reason(exc: Exception) -> str:
    """One line, for the log."""
    words, inside = said_of(exc)
    return plain(f"{words}: {inside}" if inside else words)


def for_callers(exc: Exception, version: Path) -> str:
    """The same in words of ours alone, and without a path of the host."""
    words, inside = said_of(exc)
    for folder in (version.absolute(), version):
        where = plain(str(folder))
        words = words.replace(f"{where}/", "").replace(f"{where}: ", "")
    if _A_PATH.search(words):
        return _ELSEWHERE
    return f"{words}; the server's log says more" if inside else words
