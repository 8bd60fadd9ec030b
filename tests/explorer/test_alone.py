"""The page needs nothing but its own server."""

import json
import os
import subprocess
import sys

import pytest

from tests.explorer import installed
from tests.explorer.views import VIEWS
from tests.support.patience import SECONDS


def isolated() -> list[str]:
    """The beginning of a command that runs where there is loopback alone; skips the test where none can."""
    found = [installed.find("unshare"), "--net"]
    if os.geteuid():
        found.append("--map-root-user")
    found += ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    tried = subprocess.run([*found, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    return found


def test_with_loopback_alone(repository, tmp_path):
    """On a machine without any network every view opens, and neither page nor browser asks anybody else."""
    installed.find_playwright()
    installed.find_chromium()
    program = [sys.executable, "-m", "tests.explorer.alone", str(repository), str(tmp_path / "net.json")]
    done = subprocess.run(
        [*isolated(), *program],
        cwd=installed.ROOT,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["interfaces"] == ["lo"]
    assert set(told["asked"]) == set(VIEWS)
    inside = (f"{told['origin']}/", "data:", "blob:")
    for view, addresses in told["asked"].items():
        assert f"{told['origin']}/vae.v1.VaeService/ListModels" in addresses, view
        assert not [address for address in addresses if not address.startswith(inside)], view
    assert f"{told['origin']}/explorer/main.js" in told["browser"]
    assert not [address for address in told["browser"] if not address.startswith(inside)]
