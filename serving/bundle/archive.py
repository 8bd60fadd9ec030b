"""Sealing a bundle and reading it back, checksums included."""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from serving.bundle.manifest import FORMAT, FileEntry, Manifest, ManifestBody
from serving.bundle.sealed_files import BundleError, contents, short_file, verify
from serving.errors import plain, quoted

MANIFEST = "manifest.json"


_LONGEST_MANIFEST = 4 << 20
"""Bytes. That of ``vae-train`` has some thousands."""
_LONGEST_NAME = 255
_LONGEST_KEY = 100


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    root: Path
    manifest: Manifest
    digest: str
    """sha256 of ``manifest.json``: names the model in every response, log line and metric."""

    def content(self, name: str) -> bytes:
        """The bytes of one file, checked again, so that what is used is what was sealed."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"{self.root}: no file {quoted(name)} in the manifest")
        return contents(self.root, name, entry)


def version_number(folder: str) -> int | None:
    """The version that a folder's name stands for; None unless it is a positive number in ASCII digits."""
    number = int(folder) if folder.isascii() and folder.isdecimal() else 0
    return number or None


def target_path(repository: Path, name: str, version: int | None = None) -> Path:
    """Where a bundle goes: the given version, or the one after the highest that is there."""
    model = repository / name
    if version is None:
        taken = [version_number(path.name) or 0 for path in model.iterdir()] if model.is_dir() else []
        version = max(taken, default=0) + 1
    return model / str(version)


def seal(target: Path, body: ManifestBody, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle, the manifest last, and read it back.

    The files are written beside ``target`` and moved there in one step: a reader sees a whole
    bundle or none, and a failure leaves nothing behind.

    Raises:
        BundleError: ``target`` exists, or what was written does not verify.
    """
    if target.exists():
        raise BundleError(f"{target}: exists already; want a new version")
    if target.name != str(body.version) or target.parent.name != body.name:
        raise BundleError(f"{target}: want it to end in {body.name}/{body.version}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        entries = {}
        for name, content in files.items():
            _write(partial / _inside(name), content)
            entries[name] = FileEntry(size=len(content), sha256=hashlib.sha256(content).hexdigest())
        manifest = Manifest.model_validate({**body.model_dump(), "files": entries})
        _write(partial / MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode())
        read(partial)
        partial.chmod(0o755)  # mkdtemp makes it private, a server may run as another user
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return read(target)


def read(root: Path, most_bytes: int | None = None) -> Bundle:
    """Read and verify a bundle. What its files take together is known before they are read.

    Raises:
        BundleError: naming the file or key, what was wanted and what came.
    """
    raw = short_file(root, MANIFEST, _LONGEST_MANIFEST)
    manifest = _parse(root, raw)
    size = sum(entry.size for entry in manifest.files.values())
    if most_bytes is not None and size > most_bytes:
        raise BundleError(
            f"{root}: its files take {size} bytes, want at most {most_bytes}; --load-memory-mib"
        )
    for name, entry in manifest.files.items():
        verify(root, name, entry)
    return Bundle(root, manifest, hashlib.sha256(raw).hexdigest())


def _parse(root: Path, raw: bytes) -> Manifest:
    where = f"{root}/{MANIFEST}"
    found = _format(where, raw)
    if type(found) is not int:
        came = type(found).__name__ if isinstance(found, dict | list) else quoted(found)
        raise BundleError(f"{where}: want an object with an integer 'format', came {came}")
    if not 1 <= found <= FORMAT:
        hint = "; upgrade the server" if found > FORMAT else ""
        raise BundleError(f"{where}: format {found}, this server reads formats 1 to {FORMAT}{hint}")
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        key = plain(".".join(str(part) for part in first["loc"]), _LONGEST_KEY) or "manifest"
        raise BundleError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
    for name in manifest.files:
        _inside(name)
    return manifest


def _format(where: str, raw: bytes) -> object:
    """What stands under that key. Looked at before the rest, by a parser that sees a key that comes twice."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise BundleError(f"{where}: the key {quoted(twice)} comes twice")
        return found

    try:
        document = json.loads(raw, object_pairs_hook=unique)
    except BundleError:
        raise
    except RecursionError:
        raise BundleError(f"{where}: is nested too deeply") from None
    except ValueError as exc:
        raise BundleError(f"{where}: not JSON: {exc}") from None
    return document.get("format") if isinstance(document, dict) else None


def _inside(name: str) -> str:
    """Refuse names that would leave the bundle, or that no file can have."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or name == MANIFEST or "\\" in name:
        raise BundleError(f"file name {quoted(name)}: want a relative path inside the bundle")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise BundleError(f"file name {quoted(name)}: want at most {_LONGEST_NAME} printable characters")
    return name


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
