"""Which files of a folder are looked at as pictures, and what is said of those that are none."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from serving.pictures.picture_files import has_picture_name, printable

JUNK = frozenset(
    {
        "__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found",
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
    }
)  # fmt: skip
"""Names, in lower case, that operating systems and file servers leave behind; hidden names are junk too."""
SHOWN = 3
"""How many of the files that are left out are named."""


class FolderError(ValueError):
    """A folder that cannot be used; one line, fit to be shown."""


class LeftOut(NamedTuple):
    """A file or folder that is not read."""

    path: Path
    reason: str


class Listing(NamedTuple):
    """What lies in a folder, at any depth."""

    files: list[Path]
    """Files that may be pictures, in order of their paths."""
    left_out: list[LeftOut]
    """What looks like data and is none."""


def listing(root: Path) -> Listing:
    """Links to files and folders are followed; junk is passed over.

    Raises:
        FolderError: a folder that may not be read.
    """
    files: list[Path] = []
    left_out: list[LeftOut] = []
    for path, reason in _walk(root):
        if reason:
            left_out.append(LeftOut(path, reason))
        else:
            files.append(path)
    return Listing(sorted(files), sorted(left_out))


def is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in JUNK


def left_out_line(root: Path, left_out: Sequence[LeftOut], total: int) -> str:
    """How many files are not read, the first few by name, each with what is wrong with it."""
    named = "; ".join(f"{printable(_below(root, path))} ({reason})" for path, reason in left_out[:SHOWN])
    more = "; …" if len(left_out) > SHOWN else ""
    count = f"skipped {len(left_out)} of {total} files"
    return f"{printable(root)}: {count} that cannot be read as images: {named}{more}"


def _below(root: Path, path: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    """Every file with what keeps it from being read, "" where nothing does.

    With each folder go those it lies in, by device and inode, so that links do not go in circles.
    """
    folders: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(root, ())]
    while folders:  # not by recursion: folders may be nested deeper than Python's calls
        folder, above = folders.pop()
        try:
            here = folder.stat()
            entries = list(os.scandir(folder))
        except OSError as exc:
            raise FolderError(f"{printable(folder)}: cannot be read: {exc.strerror}") from None
        chain = (*above, (here.st_dev, here.st_ino))
        for entry in entries:
            if is_junk(entry.name):
                continue
            path = folder / entry.name
            try:
                found = entry.stat()
            except OSError as exc:  # a link to nowhere, or in a circle of links
                yield path, exc.strerror or type(exc).__name__
                continue
            if not stat.S_ISDIR(found.st_mode):
                yield path, "" if stat.S_ISREG(found.st_mode) else "no regular file"
            elif (found.st_dev, found.st_ino) in chain:
                yield path, "a link to a folder that it lies in"
            elif has_picture_name(path):
                yield path, "a folder with the name of a picture"
            else:
                folders.append((path, chain))
