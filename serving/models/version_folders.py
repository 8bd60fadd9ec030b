"""What is in a repository's folder: which versions of which models, and whether one has changed."""

import os
from dataclasses import dataclass
from pathlib import Path

from serving.bundle import MANIFEST, version_number

State = frozenset[tuple[str, int, int, int, int]]
"""Name, size, inode and times of writing and of change of every file of a version."""


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
        finished = [path for path in numbered if (path / MANIFEST).exists()]
        if finished:
            versions[model.name] = sorted(finished, key=lambda path: -int(path.name))
    return Found(dict(sorted(versions.items())), unreadable)


def state_of(version: Path) -> State:
    """Differs whenever a file is added, removed, replaced or written to, its times kept or not."""
    files = []
    for folder, _, names in os.walk(version):
        for name in names:
            path = os.path.join(folder, name)
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
    return [Path(entry.path) for entry in entries if entry.is_dir()]
