"""What is in a repository's folder: which versions of which models, and whether one has changed."""

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from serving.bundle import MANIFEST, is_model_name, version_number

State = frozenset[tuple[str, int, int, int, int]]
"""Name, size, inode and times of writing and of change of every file of a version."""
_MOST_FILES = 10_000
"""Looked at. No bundle has so many."""


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
        elif finished:
            versions[model.name] = sorted(finished, key=lambda path: -int(path.name))
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
