"""Generate ``serving/pb`` from the protos, or with ``--check`` say whether it is stale.

protoc writes ``from vae.v1 import tensors_pb2`` for ``import "vae/v1/tensors.proto"`` and has no
option to put a Python package in front (protobuf issue 1491). Mapping the folder instead
(``-Iserving/pb=protos``) would rename the files in the descriptors, which reflection shows to users,
and the imports in the protos would no longer be found. So the code is generated under its own name
and the import lines, and nothing else, get the prefix ``serving.pb``.

Of ``inference`` there is no code but its descriptors: see serving/oip/schema.py.
"""

import argparse
import importlib.resources
import re
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
TARGET = PROTOS.parent / "serving" / "pb"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*.binpb")
DESCRIPTORS_ONLY = "inference"


def generate() -> dict[Path, bytes]:
    """Content by path relative to ``serving/pb``."""
    code = {path: content.encode() for path, content in _code().items()}
    return code | {Path(f"{DESCRIPTORS_ONLY}.binpb"): _descriptors()}


def _descriptors() -> bytes:
    """A FileDescriptorSet."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "set")
        _protoc([f"--descriptor_set_out={file}"], _sources(DESCRIPTORS_ONLY))
        return file.read_bytes()


def _sources(package: str) -> list[str]:
    return sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / package).rglob("*.proto"))


def _protoc(out: list[str], sources: list[str]) -> None:
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *out, *sources]) != 0:
        raise SystemExit("protoc failed")


def _code() -> dict[Path, str]:
    packages_of_ours = sorted(p.name for p in PROTOS.iterdir() if p.is_dir() and p.name != DESCRIPTORS_ONLY)
    sources = [source for package in packages_of_ours for source in _sources(package)]
    with tempfile.TemporaryDirectory() as folder:
        _protoc([f"--{plugin}_out={folder}" for plugin in ("python", "pyi", "grpc_python")], sources)
        files = {path.relative_to(folder): path.read_text() for path in Path(folder).rglob("*.py*")}
    services = {path for path, content in files.items() if "Stub(object)" in content}
    files = {p: c for p, c in files.items() if not p.name.endswith("_pb2_grpc.py") or p in services}
    packages = "|".join(sorted({path.parts[0] for path in files}))
    own_import = re.compile(rf"^from (?=(?:{packages})\b)", flags=re.MULTILINE)
    modules = {path: own_import.sub("from serving.pb.", content) for path, content in files.items()}
    folders = {folder for path in files for folder in path.parents}
    return modules | {folder / "__init__.py": "" for folder in folders}


def differences(wanted: dict[Path, bytes]) -> list[str]:
    """What in ``serving/pb`` is not as generated, one line each."""
    there = {path.relative_to(TARGET) for pattern in GENERATED for path in TARGET.rglob(pattern)}
    found = [f"{path}: not generated from any proto" for path in sorted(there - wanted.keys())]
    for path, content in sorted(wanted.items()):
        file = TARGET / path
        if not file.is_file():
            found.append(f"{path}: missing")
        elif file.read_bytes() != content:
            found.append(f"{path}: stale")
    return found


def write(wanted: dict[Path, bytes]) -> None:
    """Make ``serving/pb`` equal to ``wanted``."""
    for pattern in GENERATED:
        for path in TARGET.rglob(pattern):
            path.unlink()
    for path, content in wanted.items():
        file = TARGET / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate serving/pb from the protos.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if serving/pb is stale")
    wanted = generate()
    if not parser.parse_args().check:
        write(wanted)
        return 0
    stale = differences(wanted)
    for line in stale:
        print(f"serving/pb/{line}; run `make protos`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
