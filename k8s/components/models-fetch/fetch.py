"""Downloads a model archive, compares its sha256 and unpacks it: ``fetch.py FOLDER``.

From the environment: ``MODEL_URL``, ``MODEL_SHA256`` and, if the store wants one, ``MODEL_TOKEN``. Ends with
one line, and exit code 1 if anything is not as it should be. Bytes with another sha256 are never unpacked.
Standard library only.
"""

import hashlib
import os
import re
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import IO

ATTEMPT_S = 30.0
CHUNK = 1 << 20


class FetchError(Exception):
    """What is wrong, in one line."""


def main() -> int:
    try:
        (folder,) = (Path(argument) for argument in sys.argv[1:])
        url, wanted = (_variable(name) for name in ("MODEL_URL", "MODEL_SHA256"))
        if not re.fullmatch(r"[0-9a-f]{64}", wanted):
            raise FetchError(f"MODEL_SHA256: want 64 hexadecimal digits, came {wanted!r}")
        with tempfile.TemporaryFile(dir=folder) as archive:
            size = _download(url, wanted, archive)
            _unpack(archive, folder)
    except (FetchError, OSError, ValueError, tarfile.TarError) as exc:
        sys.stderr.write(f"fetch: error: {exc}\n")
        return 1
    sys.stderr.write(
        f"fetch: {size} bytes from {url.partition('?')[0]} verified and unpacked into {folder}\n"
    )
    return 0


def _variable(name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise FetchError(f"{name}: want a value, came none")
    return value


def _download(url: str, wanted: str, archive: IO[bytes]) -> int:
    """Bytes written. Raises FetchError unless their sha256 is the one wanted."""
    if not url.startswith(("https://", "http://127.0.0.1:")):
        raise FetchError(f"MODEL_URL: want an https address, came {url.partition('?')[0]!r}")
    request = urllib.request.Request(url)
    if token := os.environ.get("MODEL_TOKEN"):
        # Not sent on to where a store redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    digest = hashlib.sha256()
    with urllib.request.urlopen(request, timeout=ATTEMPT_S) as answer:
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            archive.write(chunk)
    if digest.hexdigest() != wanted:
        raise FetchError(f"{url.partition('?')[0]}: want sha256 {wanted}, came {digest.hexdigest()}")
    return archive.tell()


def _unpack(archive: IO[bytes], folder: Path) -> None:
    """Only plain files and folders below ``folder``, whatever the archive says."""
    archive.seek(0)
    with tarfile.open(fileobj=archive) as content:
        if not any(re.fullmatch(r"(\./)?[^/]+/\d+/manifest\.json", name) for name in content.getnames()):
            raise FetchError("the archive has no <model>/<version>/manifest.json")
        content.extractall(folder, filter="data")


if __name__ == "__main__":
    sys.exit(main())
