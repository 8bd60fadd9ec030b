"""Reading the files of a bundle, whatever lies where they should be.

A FIFO or a device would hang the reader, a file of any size would eat its memory: only regular files are
opened, sizes are compared before anything is read, and what is hashed is read in pieces.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from serving.errors import plain

_PIECE = 1 << 20


class BundleError(ValueError):
    """A bundle that cannot be written or must not be served; one line, fit to be shown.

    ``inside`` is what others than we said of it, ONNX Runtime for one: for the log, not for callers.
    """

    def __init__(self, message: str, inside: str = "") -> None:
        super().__init__(plain(f"{message}: {inside}" if inside else message))
        self.message, self.inside = plain(message), plain(inside)


class UnreadableBundle(BundleError):
    """What was wrong need not lie in the files: perhaps another time they can be read, or loaded."""


class Entry(Protocol):
    """What the manifest says of a file."""

    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...


def contents(root: Path, name: str, entry: Entry) -> bytes:
    """The bytes of a file, if they are those that were sealed."""
    with _sized(root, name, entry) as file:
        content = file.read(entry.size)
        _compare(root / name, entry, hashlib.sha256(content).hexdigest())
    return content


def verify(root: Path, name: str, entry: Entry) -> None:
    """The same without keeping them."""
    digest, left = hashlib.sha256(), entry.size
    with _sized(root, name, entry) as file:
        while left and (piece := file.read(min(left, _PIECE))):
            digest.update(piece)
            left -= len(piece)
        _compare(root / name, entry, digest.hexdigest())


def short_file(root: Path, name: str, most: int) -> bytes:
    """A file of which nothing is known, if it is no longer than that."""
    with _opened(root, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise BundleError(f"{root / name}: want at most {most} bytes, came {size}")
        return file.read(most)


@contextmanager
def _sized(root: Path, name: str, entry: Entry) -> Iterator[BinaryIO]:
    with _opened(root, name) as file:
        size = os.fstat(file.fileno()).st_size
        if size != entry.size:
            raise BundleError(f"{root / name}: want {entry.size} bytes, came {size}")
        yield file


def _compare(path: Path, entry: Entry, came: str) -> None:
    if came != entry.sha256:
        raise BundleError(f"{path}: want sha256 {entry.sha256[:12]}…, came {came[:12]}…")


@contextmanager
def _opened(root: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file, for reading; failures of the storage as errors of ours, those in the body too."""
    path = root / name
    try:
        real = os.path.realpath(path, strict=True)
        _check_place(root, path, Path(real))
        if not stat.S_ISREG(os.stat(real).st_mode):  # to open a device may do something
            raise BundleError(f"{path}: want a regular file")
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # swapped in between
                raise BundleError(f"{path}: want a regular file")
            yield file
    except OSError as exc:
        is_theirs = isinstance(exc, FileNotFoundError | NotADirectoryError)
        kind = BundleError if is_theirs else UnreadableBundle
        raise kind(f"{path}: cannot be read: {exc.strerror}") from None


def _check_place(root: Path, path: Path, real: Path) -> None:
    """Links are followed inside the version's folder and the repository, as Kubernetes' volumes have them."""
    absolute = root.absolute()
    allowed = [Path(os.path.realpath(folder)) for folder in (absolute, absolute.parent.parent)]
    if not any(real.is_relative_to(folder) for folder in allowed):
        raise BundleError(f"{path}: links out of the repository; want the file inside it")
