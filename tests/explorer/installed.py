"""Where the tools are that look at the page, and a visible skip where one is not. `make explorer-tools` gets them."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-explorer"
HOW = "`make explorer-tools` says how"


def find(*names: str) -> str:
    """The first of the programs that is there; skips the test if none is."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed; {HOW}")


def find_chromium() -> str:
    return find("chromium", "chromium-browser", "google-chrome")


def find_playwright() -> Any:
    """Its module ``playwright.sync_api``, which drives the system's browser and brings none."""
    folder = str(FOLDER / "python")
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module("playwright.sync_api")
    except ImportError:
        pytest.skip(f"playwright is not installed; {HOW}")


def find_package(name: str) -> Path:
    """The folder of a package of npm's; skips the test if it is not there."""
    found = FOLDER / "node_modules" / name
    if not found.is_dir():
        pytest.skip(f"npm's {name} is not installed; {HOW}")
    return found
