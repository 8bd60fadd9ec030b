"""What made a bundle: versions of the libraries, and the commit of this code."""

import subprocess
from importlib import metadata
from pathlib import Path

import onnx
import onnxruntime
import onnxscript
import torch

import training


def versions() -> dict[str, str]:
    try:
        own = metadata.version("vaeserve")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        own = "unknown"
    return {
        "vaeserve": own,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxscript": onnxscript.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def git_commit() -> str | None:
    """The commit of this code, with ``-dirty`` where files differ from it; None outside a checkout."""
    package = Path(training.__file__)
    # An installed copy may lie inside the repository of a user, whose commit says nothing about it.
    if _git(package.parent, "ls-files", "--error-unmatch", package.name) is None:
        return None
    return _git(package.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
