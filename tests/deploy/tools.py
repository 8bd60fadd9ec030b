"""The programs that check deployment artefacts: where they are, and a visible skip where one is not."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-deploy"
NODE_MODULES = TOOLS / "node/node_modules"


def find(*names: str) -> str:
    """The first of the names that is installed; skips the test if none is."""
    path = f"{TOOLS / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    pytest.skip(f"{names[0]} is not installed; `make deploy-tools` says how")


def find_node(package: str) -> str:
    """The program node, if the npm package is installed beside the tools; skips the test otherwise."""
    if not (NODE_MODULES / package).is_dir():
        pytest.skip(f"npm's {package} is not installed; `make deploy-tools` says how")
    return find("node", "nodejs")


def run(*command: str | Path, cwd: Path = ROOT, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd, input=text, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def problems_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a program complained of: its output if it failed, nothing if it did not."""
    if done.returncode == 0:
        return []
    return [f"{Path(done.args[0]).name}: {(done.stdout + done.stderr).strip()}"]
