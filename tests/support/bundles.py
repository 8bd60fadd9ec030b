"""Changes to a sealed bundle, as an attacker or a careless hand would make them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving import bundle


def rewrite_manifest(
    root: Path, change: Callable[[dict[str, Any]], object], *, sort_keys: bool = False
) -> None:
    path = root / bundle.MANIFEST
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, sort_keys=sort_keys))


def reseal(root: Path, name: str, content: bytes) -> None:
    """Another file, with a manifest that says so."""
    (root / name).write_bytes(content)
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    rewrite_manifest(root, lambda document: document["files"].update({name: entry}))
