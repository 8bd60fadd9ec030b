"""The rules of the layout that no linter knows: sizes, names, and what an import must not need."""

import ast
import importlib.metadata
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import patience

ROOT = Path(__file__).parent.parent
MAX_README = 200
MAX_MODULE = 300
MAX_TEST_MODULE = 400
MAX_FUNCTION = 50
MAX_ROOM = 12
UNNAMED = ("__init__", "__main__")
CODE = ("training", "serving", "demo", "benchmarks", "protos")
GENERATED = ROOT / "serving" / "pb"

SERVER_ONLY = (
    "pydantic",
    "orjson",
    "pydantic_settings",
    "onnxruntime",
    "safetensors",
    "prometheus_client",
    "grpc_health",
    "h2",
    "httptools",
    "uvloop",
)
NEVER_SERVED = ("torch", "onnx", "sklearn", "matplotlib", "training")


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*.py") if GENERATED not in path.parents)


def too_long(path: Path, limit: int) -> list[str]:
    lines = len(path.read_text().splitlines())
    return [f"{path.relative_to(ROOT)}: {lines} lines, want at most {limit}"] if lines > limit else []


def long_functions(path: Path) -> list[str]:
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines, want at most {MAX_FUNCTION}"
        for node in functions
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION
    ]


def test_modules_are_small():
    """A module has at most 300 lines, a module of tests 400; a newcomer reads any of them in one go."""
    found = [line for path in modules(*CODE) for line in too_long(path, MAX_MODULE)]
    found += [line for path in modules("tests") for line in too_long(path, MAX_TEST_MODULE)]
    assert not found, "\n".join(found)


def test_scripts_are_small():
    """A file of the explorer's page has at most 300 lines, like a module."""
    files = [
        path
        for path in (ROOT / "serving/explorer").rglob("*")
        if path.suffix in (".css", ".html", ".js", ".ts")
    ]
    assert len(files) > 10
    found = [line for path in files for line in too_long(path, MAX_MODULE)]
    assert not found, "\n".join(found)


def test_functions_are_small():
    """A function has at most 50 lines, docstring included."""
    found = [line for path in modules(*CODE) for line in long_functions(path)]
    assert not found, "\n".join(found)


def test_rooms_are_small():
    """A package has at most 12 modules, so that one sees at a glance what is in it."""
    rooms = Counter(path.parent for path in modules("training", "serving") if path.stem not in UNNAMED)
    crowded = {str(room.relative_to(ROOT)): count for room, count in rooms.items() if count > MAX_ROOM}
    assert not crowded


def test_no_two_modules_share_a_name():
    """What a module is called says which one it is, in a traceback, in an editor's tab, in talk."""
    places = defaultdict(list)
    for path in modules("training", "serving"):
        if path.stem not in UNNAMED:
            places[path.stem].append(str(path.relative_to(ROOT)))
    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert not shared


@pytest.mark.parametrize("package", ["training", "serving"])
def test_names_are_ours(package):
    """These names are generic: nothing else that is installed may provide them."""
    providers = importlib.metadata.packages_distributions().get(package, [])
    assert set(providers) <= {"vaeserve"}


def imports_without(module: str, blocked: tuple[str, ...], then: str = "") -> None:
    """Import the module, and go on with ``then``, in a fresh process that cannot import the blocked ones."""
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import {module}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{then}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["serving.server", "serving.__main__"])
def test_serving_needs_no_training(module):
    """The server starts where torch and the other training packages are not installed."""
    imports_without(module, NEVER_SERVED)


@pytest.mark.parametrize("module", ["serving.client", "serving.client.__main__"])
def test_client_needs_only_the_base_install(module):
    """grpcio, protobuf, numpy and Pillow are enough for the client, google.rpc included in what is not."""
    http = "from serving.client import Client; Client('https://h').close()"
    frames = ("pandas", "polars", "pyarrow")
    imports_without(module, (*SERVER_ONLY, *NEVER_SERVED, *frames, "grpc_status", "google.rpc"), http)


def test_bundle_needs_neither_grpc_nor_a_runtime():
    """Training imports the bundle, so it must not bring the server's packages with it."""
    imports_without(
        "serving.bundle", ("grpc", "google.protobuf", "onnxruntime", "pydantic_settings", "torch")
    )


SEALING = """
import torch
from torch import nn
from training.export import export_bundle

class Encoder(nn.Module):
    def forward(self, image):
        flat = image.flatten(1)
        return flat, torch.full_like(flat, -3.0)

decoder = nn.Sequential(nn.Hardtanh(0, 1), nn.Unflatten(1, (1, 4, 4)))
images, labels = torch.rand(20, 1, 4, 4), torch.arange(20).remainder(2)
export_bundle(Encoder(), decoder, repository=%r, name="toy", images=images, labels=labels, label_names=("a", "b"))
"""


def test_sealing_needs_no_pictures(tmp_path):
    """A bundle is sealed where matplotlib and the template engine of the report are not installed."""
    imports_without(
        "training.import_onnx", ("matplotlib", "jinja2", "training.report"), SEALING % str(tmp_path)
    )
    assert (tmp_path / "toy" / "1" / "manifest.json").is_file()


def test_help_needs_no_torch():
    """``vae-train --help`` and a refused flag answer at once."""
    imports_without("training.__main__", ("torch", "sklearn", "matplotlib"), "training.__main__.parser()")


def test_descriptors_keep_the_names_of_the_protos():
    """Reflection shows them to users: vae/v1/…, whatever Python package the stubs live in."""
    from serving.pb.vae.v1 import vae_service_pb2

    names = {file.name for file in (vae_service_pb2.DESCRIPTOR, *vae_service_pb2.DESCRIPTOR.dependencies)}
    assert names == {"vae/v1/vae_service.proto", "vae/v1/models.proto", "vae/v1/tensors.proto"}


def test_the_readme_is_a_front_door():
    """README.md has at most 200 lines; everything else is a page of docs/ named by what a reader is after."""
    assert not too_long(ROOT / "README.md", MAX_README)
