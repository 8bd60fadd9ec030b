"""The Dockerfiles and their locks."""

import fnmatch
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy import tools

DOCKERFILES = ("serving/Dockerfile", "training/Dockerfile")
LOCKS = {
    "serving-cpu": ("serving-cpu", "tracing"),
    "serving-cuda": ("serving-cuda", "tracing"),
    "training-cpu": ("training",),
    "training-cuda": ("training",),
}
"""Lock → the extras that it pins."""
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


def hadolint_problems(root: Path) -> list[str]:
    return tools.problems_of(tools.run(tools.find("hadolint"), *(root / name for name in DOCKERFILES)))


def shell_problems(root: Path) -> list[str]:
    """Every script that comes with the deployment."""
    scripts = ("locks/make.sh", "training/first_bundle.sh")
    return tools.problems_of(tools.run(tools.find("shellcheck"), *(root / name for name in scripts)))


def problems(root: Path) -> list[str]:
    found = [problem for name in DOCKERFILES for problem in _dockerfile(root, name)]
    found += [problem for name in LOCKS for problem in _lock(root, name)]
    return [*found, *_versions(root)]


def _versions(root: Path) -> Iterator[str]:
    """The version of the project is the tag of its images, wherever one is named."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    named = {
        "docker-compose.yml": r"VAESERVE_TAG:-([^}]+)\}",
        ".env.example": r"VAESERVE_TAG=(.+)",
        **dict.fromkeys(DOCKERFILES, r"ARG VERSION=(.+)"),
        **{
            str(path.relative_to(root)): r"newTag: (.+?)-(?:cpu|cuda)"
            for path in sorted((root / "k8s").rglob("kustomization.yaml"))
            if "newTag" in path.read_text()
        },
    }
    for file, pattern in named.items():
        for found in re.findall(pattern, (root / file).read_text()) or ["no version"]:
            if found != version:
                yield f"{file}: {found}, the project is at {version}"


def _dockerfile(root: Path, name: str) -> Iterator[str]:
    text = (root / name).read_text()
    if text.lstrip().startswith("# syntax"):
        yield f"{name}: a syntax line is fetched from a registry before anything is built"
    if "HEALTHCHECK" not in text:
        yield f"{name}: want a HEALTHCHECK, or HEALTHCHECK NONE for a program that ends"
    if "ORT_DISABLE_TELEMETRY=1" not in text:
        yield f"{name}: want ORT_DISABLE_TELEMETRY=1"
    for line in re.findall(r"pip (?:--python \S+ )?install(?:\\\n|[^\n])*", text):
        if "--require-hashes" not in line and "--no-index" not in line:
            yield f"{name}: want --require-hashes in: pip install …"
    yield from _bases(name, text)
    yield from _user(name, text)
    yield from _sources(root, name, text)


def _bases(name: str, text: str) -> Iterator[str]:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
    for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        known = any(fnmatch.fnmatch(stage, re.sub(r"\$\{\w+\}", "*", base)) for stage in stages)
        if not known and (":" not in base or base.endswith(":latest")):
            yield f"{name}: base image {base}: want a tag other than latest"


def _user(name: str, text: str) -> Iterator[str]:
    user = ["", *re.findall(r"^USER (\S+)", text, re.MULTILINE)][-1]
    if not re.match(r"[1-9]\d*(:|$)", user):
        yield f"{name}: USER {user}: want a number other than 0, so that Kubernetes can tell it is not root"


def _sources(root: Path, name: str, text: str) -> Iterator[str]:
    """What is copied exists and is part of the build context."""
    allowed = _context(root)
    for copied in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", text, re.MULTILINE):
        for source in re.sub(r"\$\{\w+\}", "cpu", copied).split():
            if not (root / source).exists():
                yield f"{name}: copies {source}, which does not exist"
            elif source.split("/")[0] not in allowed:
                yield f"{name}: copies {source}, which .dockerignore keeps out"


def _context(root: Path) -> set[str]:
    """What .dockerignore lets in."""
    lines = (root / ".dockerignore").read_text().splitlines()
    return {line[1:] for line in lines if line.startswith("!")}


def _lock(root: Path, name: str) -> Iterator[str]:
    """Every package with its hash, everything that the extra asks for, in the versions that are tested."""
    text = (root / f"locks/{name}.txt").read_text()
    locked = {canonicalize_name(m["name"]): m["version"] for m in PINNED.finditer(text)}
    for package in re.split(r"\n(?=[A-Za-z0-9])", text):
        if PINNED.match(package) and "--hash=sha256:" not in package:
            yield f"locks/{name}.txt: {package.splitlines()[0]}: want its hash"
    tested = {
        canonicalize_name(m["name"]): m["version"]
        for m in PINNED.finditer((root / "constraints.txt").read_text())
    }
    for package, version in locked.items():
        wanted = tested.get(package)
        if wanted and version.partition("+")[0] != wanted:
            yield f"locks/{name}.txt: {package} {version}, tested is {wanted}; run make locks"
    for package in _wanted(root, LOCKS[name]):
        if package == "onnxruntime-gpu" and name.startswith("training"):
            package = "onnxruntime"  # noqa: PLW2901  # the trainer's parity check needs no CUDA build
        if package not in locked:
            yield f"locks/{name}.txt: {package} is missing; run make locks"
    if name.startswith("serving") and "torch" in locked:
        yield f"locks/{name}.txt: torch has no place in the server"


def _wanted(root: Path, extras: Iterable[str]) -> set[str]:
    """Names that the base install and some extras ask for on Linux x86-64."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    names: set[str] = set()
    optional = project["optional-dependencies"]
    queue = [*project["dependencies"], *(name for extra in extras for name in optional[extra])]
    while queue:
        requirement = Requirement(queue.pop())
        if requirement.marker and not requirement.marker.evaluate(
            {"sys_platform": "linux", "platform_machine": "x86_64", "python_version": "3.11"}
        ):
            continue
        if requirement.name == project["name"]:
            queue += [line for part in requirement.extras for line in project["optional-dependencies"][part]]
        else:
            names.add(canonicalize_name(requirement.name))
    return names
