"""The wheel, as it is built and installed."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from serving.explorer.page_files import read_page
from tests.deploy import tools

_READ = """
import json
from serving.explorer import page_files
print(json.dumps([page_files.__file__, {path: file.tag for path, file in page_files.read_page().items()}]))
"""


def test_the_wheel_carries_the_page(tmp_path):
    """A newcomer who installs it has every file of the explorer, byte by byte, and nothing that only we want."""
    built = tools.run(tools.find("uv"), "build", "--quiet", "--wheel", "--out-dir", tmp_path)
    if built.returncode and "error sending request" in built.stderr:
        pytest.skip("the build's own tools cannot be fetched")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    assert not [name for name in names if name.endswith((".d.ts", "tsconfig.json", "Dockerfile"))]
    said = subprocess.run(
        [sys.executable, "-c", _READ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    where, files = json.loads(said)
    assert Path(where).is_relative_to(installed)
    assert files == {path: file.tag for path, file in read_page().items()}
