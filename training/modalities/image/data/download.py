"""Downloads with checksums, for the data sets that are public and too large for the package."""

import gzip
import hashlib
import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from training.training_error import TrainingError

TIMEOUT_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where four IDX files are published, gzipped."""

    url: str
    md5: Mapping[str, str]
    """By file name without ``.gz``, in the order training images, labels, test images, labels: the
    published MD5 of the gzipped or of the uncompressed file."""

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self.md5)


SOURCES = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
            "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
            "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
            "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
        },
    ),
    "fashion-mnist": Source(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
}


def fetch(source: Source, name: str, folder: Path) -> Path:
    """``folder/name.gz``, downloaded unless it is there.

    A file appears under its name only once its checksum is right, so what is there can be trusted.

    Raises:
        TrainingError: no connection, or not the published bytes.
    """
    target = folder / f"{name}.gz"
    if target.is_file():
        return target
    url = f"{source.url}{name}.gz"
    log.info("downloading %s", url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
    except (OSError, http.client.HTTPException) as exc:
        raise TrainingError(
            f"{url}: download failed: {exc}; with the files at hand, name their folder by --data-dir"
        ) from None
    _check(url, content, source.md5[name])
    _write(target, content)
    return target


def _check(url: str, content: bytes, wanted: str) -> None:
    came = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if came == wanted:
        return
    try:
        uncompressed = gzip.decompress(content)
    except (OSError, EOFError) as exc:
        raise TrainingError(f"{url}: want a gzip file with MD5 {wanted}, came MD5 {came} ({exc})") from None
    inner = hashlib.md5(uncompressed, usedforsecurity=False).hexdigest()
    if inner != wanted:
        raise TrainingError(f"{url}: want MD5 {wanted}, came {came} ({inner} uncompressed)")


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, target)
    except OSError as exc:
        raise TrainingError(f"--cache-dir {target.parent}: cannot be written: {exc.strerror}") from None
