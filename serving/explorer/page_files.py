"""The page's files, read once: what is served is what was there at the start, and no path leads to a disk."""

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from serving.errors import StartupError, quoted

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""By the end of a file's name. What an editor leaves behind has none of these, and is not served."""
_LARGEST_FILE = 4 << 20
"""Bytes."""
_TAG_LETTERS = 24
"""Of a sha256 as hexadecimal digits."""


@dataclass(frozen=True)
class PageFile:
    """One file in the forms in which it is sent."""

    media_type: str
    plain: bytes
    packed: bytes | None
    """By gzip, if that is smaller."""
    tag: str
    """Tells this content from every other, the same in every process and replica."""


def read_page(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Every file of the page by its path below the folder, with slashes. Raises StartupError."""
    try:
        paths = sorted(path for path in folder.rglob("*") if path.suffix in TYPES and path.is_file())
        files = {path.relative_to(folder).as_posix(): _read(path) for path in paths if _is_ours(path, folder)}
    except OSError as exc:
        raise StartupError(f"--explorer: its page cannot be read: {exc.strerror}") from None
    if INDEX not in files:
        raise StartupError(f"--explorer: its page is not installed: want {INDEX} in {folder}")
    return files


def _is_ours(path: Path, folder: Path) -> bool:
    """Whether no part of its path is hidden."""
    return not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _read(path: Path) -> PageFile:
    with path.open("rb") as file:
        plain = file.read(_LARGEST_FILE + 1)
    if len(plain) > _LARGEST_FILE:
        raise StartupError(
            f"--explorer: {quoted(path.name)}: want at most {_LARGEST_FILE >> 20} MiB, there is more"
        )
    packed = gzip.compress(plain, 9, mtime=0)
    return PageFile(
        media_type=TYPES[path.suffix],
        plain=plain,
        packed=packed if len(packed) < len(plain) else None,
        tag=hashlib.sha256(plain).hexdigest()[:_TAG_LETTERS],
    )
