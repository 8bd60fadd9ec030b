"""The init container's download: what it takes, and that it unpacks nothing else."""

import hashlib
import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from serving import bundle
from tests.deploy import tools
from tests.support import toy

SCRIPT = tools.ROOT / "k8s/components/models-fetch/fetch.py"


@pytest.fixture
def store() -> Iterator[tuple[str, dict[str, bytes]]]:
    """An object store that wants the token `secret`: its address, and what it holds by path."""
    content: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == "Bearer secret"
            body = content.get(self.path) if allowed else None
            self.send_response(200 if body is not None else 404 if allowed else 401)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", content
    server.shutdown()
    server.server_close()
    thread.join()


def archive(root: Path, name: str = "toy") -> bytes:
    with io.BytesIO() as target:
        with tarfile.open(fileobj=target, mode="w:gz") as packed:
            packed.add(root / "toy", name)
        return target.getvalue()


def fetch(folder: Path, url: str, content: bytes, token: str = "secret") -> subprocess.CompletedProcess[str]:
    environment = {
        "MODEL_URL": url,
        "MODEL_SHA256": hashlib.sha256(content).hexdigest(),
        "MODEL_TOKEN": token,
    }
    command = [sys.executable, SCRIPT, folder]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def packed(tmp_path) -> bytes:
    toy.make_bundle(tmp_path / "made")
    return archive(tmp_path / "made")


def test_an_archive_becomes_a_bundle(store, packed, tmp_path):
    """What was packed is what the server would load, and nothing else is left in the folder."""
    address, content = store
    content["/toy.tar.gz"] = packed
    models = tmp_path / "models"
    models.mkdir()
    done = fetch(models, f"{address}/toy.tar.gz?signature=private", packed)
    assert done.returncode == 1  # the store knows no such path with a query
    done = fetch(models, f"{address}/toy.tar.gz", packed)
    assert (done.returncode, [p.name for p in models.iterdir()]) == (0, ["toy"]), done.stderr
    assert bundle.read(models / "toy/1").manifest.name == "toy"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"content": b"another archive"}, "want sha256", id="other bytes"),
        pytest.param({"path": "/missing.tar.gz"}, "404", id="not there"),
        pytest.param({"token": "wrong"}, "401", id="wrong token"),
        pytest.param({"address": "http://models.example.com"}, "https", id="not encrypted"),
        pytest.param({"packed_as": "../outside"}, "manifest.json", id="outside the folder"),
    ],
)
def test_what_is_refused(store, packed, tmp_path, change, complaint):
    """One line, exit code 1, and the folder stays empty."""
    address, content = store
    if "packed_as" in change:
        packed = archive(tmp_path / "made", change["packed_as"])
    content["/toy.tar.gz"] = change.get("content", packed)
    models = tmp_path / "models"
    models.mkdir()
    url = change.get("address", address) + change.get("path", "/toy.tar.gz")
    done = fetch(models, url, packed, change.get("token", "secret"))
    assert (done.returncode, list(models.iterdir())) == (1, [])
    assert done.stderr.startswith("fetch: error: ")
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
