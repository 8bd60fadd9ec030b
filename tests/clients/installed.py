"""Where the clients are, and a visible skip where one is not."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-clients"
PROGRAMS = Path(__file__).parent / "programs"
OLDEST_NODE = 20


def find(*names: str) -> str:
    """The first of the programs that is there; skips the test if none is."""
    for name in names:
        if found := shutil.which(name, path=search_path()):
            return found
    pytest.skip(f"{names[0]} is not installed; `make clients-tools` says how")


def search_path() -> str:
    """Where programs are looked for."""
    return f"{FOLDER / 'node_modules/.bin'}{os.pathsep}{os.environ['PATH']}"


def find_node() -> str:
    """The program node, if npm's packages are here and it can run them; skips the test otherwise."""
    if not (FOLDER / ".node-installed").is_file():
        pytest.skip("npm's packages are not installed; `make clients-tools` says how")
    node = find("node", "nodejs")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = re.match(r"v([0-9]+)", version)
    if not found or int(found[1]) < OLDEST_NODE:
        pytest.skip(f"want Node {OLDEST_NODE} or later, there is {version}")
    return node


def find_python() -> str:
    """A Python that has the Connect project's client; skips the test if there is none."""
    if not (FOLDER / ".python-installed").is_file():
        pytest.skip("Python's Connect client is not installed; `make clients-tools` says how")
    return str(FOLDER / "bin/python")


def find_perf_analyzer() -> tuple[str, dict[str, str]]:
    """Triton's load generator and the environment that it wants; skips the test where it cannot run."""
    folder = FOLDER / "perf"
    program, libraries = folder / "bin/perf_analyzer", folder / "nvidia/cuda_runtime/lib"
    if not (FOLDER / ".perf-installed").is_file():
        pytest.skip("perf_analyzer is not installed; `make clients-tools` says how")
    environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
    linked = subprocess.run(["ldd", program], env=environment, capture_output=True, text=True, check=False)
    if linked.returncode or "not found" in linked.stdout:
        pytest.skip("perf_analyzer lacks libraries or is for another machine; `make clients-tools` says how")
    program.chmod(0o755)
    return str(program), environment


def lay_out(folder: Path) -> None:
    """A project of npm's: the programs, with the packages and the generated code beside them."""
    for name in ("node_modules", "gen"):
        (folder / name).symlink_to(FOLDER / name)
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy(program, folder)
