"""What is in a repository's folder: which versions of which models, and whether one has changed."""

import os
from collections.abc import Iterator
from pathlib import Path

from serving.bundle import MANIFEST, version_number

State = frozenset[tuple[str, int, int]]
"""Name, size and time of change of every file of a version."""


def scan(root: Path) -> dict[str, list[Path]]:
    """Model name → its version folders, highest first. Folders without a manifest are not finished.

    Raises:
        OSError: the folder, or one in it, cannot be looked at; what is in it is then not known.
    """
    found: dict[str, list[Path]] = {}
    for model in _folders(root):
        versions = [
            path for path in _folders(model) if version_number(path.name) and (path / MANIFEST).exists()
        ]
        if versions and not model.name.startswith("."):
            found[model.name] = sorted(versions, key=lambda path: -int(path.name))
    return dict(sorted(found.items()))


def state_of(version: Path) -> State:
    """Differs whenever a file is added, removed, replaced or written to."""
    files = []
    for folder, _, names in os.walk(version):
        for name in names:
            try:
                seen = os.stat(os.path.join(folder, name))
            except OSError:  # gone in this moment, or a link to nothing
                files.append((os.path.join(folder, name), -1, 0))
            else:
                files.append((os.path.join(folder, name), seen.st_size, seen.st_mtime_ns))
    return frozenset(files)


def identity(root: Path) -> tuple[int, int] | None:
    """Device and inode. Another folder may come to stand there: a mount point without its volume, say."""
    try:
        seen = root.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino


def _folders(parent: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(parent))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (Path(entry.path) for entry in entries if entry.is_dir())
