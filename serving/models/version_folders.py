"""What is in a repository's folder: which versions of which models, and whether one has changed."""

import logging
import os
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from serving.bundle import MANIFEST, is_model_name, version_number
from serving.errors import StartupError, plain
from serving.host.abandonable import abandonable

log = logging.getLogger(__name__)

State = frozenset[tuple[str, int, int, int, int]]
"""Name, size, inode and times of writing and of change of every file of a version."""
_MOST_FILES = 10_000
"""Looked at. No bundle has so many."""
_LARGEST_VERSION = (1 << 63) - 1
"""Of the wire's int64, and so of a manifest."""


@dataclass(frozen=True)
class Found:
    versions: dict[str, list[Path]]
    """Model name → its version folders, highest first."""
    unreadable: dict[str, str]
    """Folders of which it cannot be told what is in them, and why."""


def scan(root: Path) -> Found:
    """What is in a repository. Folders without a manifest are not finished, those with a dot are nobody's.

    Raises:
        OSError: the root cannot be looked at.
    """
    versions: dict[str, list[Path]] = {}
    unreadable: dict[str, str] = {}
    for model in _folders(root):
        try:
            numbered = [path for path in _folders(model) if version_number(path.name)]
        except FileNotFoundError:  # gone in this moment
            continue
        except OSError as exc:
            unreadable[model.name] = exc.strerror or type(exc).__name__
            continue
        finished = [path for path in numbered if _is_finished(path)]
        if finished and not is_model_name(model.name):
            unreadable[model.name] = "no model can have that name"
            continue
        by_number: dict[int, Path] = {}
        for path in sorted(finished, key=lambda path: (-int(path.name), len(path.name))):
            if int(path.name) > _LARGEST_VERSION:
                unreadable[f"{model.name}/{path.name}"] = "no version can have that number"
            elif int(path.name) in by_number:
                unreadable[f"{model.name}/{path.name}"] = f"it is version {int(path.name)} once more"
            else:
                by_number[int(path.name)] = path
        if by_number:
            versions[model.name] = list(by_number.values())
    return Found(dict(sorted(versions.items())), unreadable)


def state_of(version: Path) -> State:
    """Differs whenever a file is added, removed, replaced or written to, its times kept or not."""
    paths = (os.path.join(folder, name) for folder, _, names in os.walk(version) for name in names)
    files = []
    for path in islice(paths, _MOST_FILES):
        try:
            seen = os.stat(path)
        except OSError:  # gone in this moment, or a link to nothing
            files.append((path, -1, 0, 0, 0))
        else:
            files.append((path, seen.st_size, seen.st_ino, seen.st_mtime_ns, seen.st_ctime_ns))
    return frozenset(files)


def identity(root: Path) -> tuple[int, int] | None:
    """Device and inode. Another folder may come to stand there: a mount point without its volume, say."""
    try:
        seen = root.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _folders(parent: Path) -> list[Path]:
    entries = [entry for entry in os.scandir(parent) if not entry.name.startswith(".")]
    return [Path(entry.path) for entry in entries if _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, say
        return False


def _is_finished(version: Path) -> bool:
    """Whether there is a manifest, of whatever kind: what is wrong with it is for the refusal to say."""
    try:
        os.lstat(version / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


class Root:
    """The repository's folder, looked at again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: dict[str, str] = {}
        """Folders of which it was said that they cannot be looked into."""
        self._identity: tuple[int, int] | None = None
        """When models were found in it."""
        self._missing = False
        """Whether it was said that it cannot be seen."""

    async def at_start(self) -> Found:
        """Raises StartupError if there is no version of any model."""
        if not await abandonable(self.path.is_dir):
            raise StartupError(f"--repository {self.path}: want a folder of <model>/<version>/ bundles")
        try:
            found = await abandonable(partial(scan, self.path))
        except OSError as exc:
            raise StartupError(f"--repository {self.path}: cannot be read: {exc.strerror}") from None
        self._tell_unreadable(found)
        if not found.versions:
            raise StartupError(f"--repository {self.path}: no <model>/<version>/{MANIFEST} in it")
        self._identity = await abandonable(partial(identity, self.path))
        return found

    async def look(self, *, something_to_lose: bool) -> Found | None:
        """What is in it now; None if that cannot be told, and everything goes on as it is."""
        problem: str | None = None
        found, before, after = Found({}, {}), None, None
        try:
            before = await abandonable(partial(identity, self.path))
            found = await abandonable(partial(scan, self.path))
            after = await abandonable(partial(identity, self.path))
        except FileNotFoundError:
            problem = "is not there"
        except OSError as exc:
            problem = f"cannot be read: {exc.strerror}"
        if not problem and (before != after or not after):
            problem = "is being replaced"
        if not problem and not found.versions and after != self._identity:
            problem = "is another folder now, and empty"
        if problem and something_to_lose:
            if not self._missing:
                log.warning("repository %s %s; what was loaded goes on serving", self.path, problem)
            self._missing = True
            return None
        if self._missing:
            log.info("repository %s is back", self.path)
        self._missing, self._identity = False, after
        self._tell_unreadable(found)
        return found

    def _tell_unreadable(self, found: Found) -> None:
        for name in set(found.unreadable) - set(self._told):
            log.warning("%s cannot be looked into: %s", plain(str(self.path / name)), found.unreadable[name])
        self._told = found.unreadable
