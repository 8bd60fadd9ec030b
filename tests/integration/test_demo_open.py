"""`make demo-open`: the demo's model in a browser, until Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.support import toy
from tests.support.patience import SECONDS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def started(tmp_path):
    """Starts it in a folder with a model, and ends it."""
    toy.make_bundle(tmp_path / "models", "digits")
    (tmp_path / "demo").mkdir()
    running = []

    def start(http_address: str = "127.0.0.1:0") -> subprocess.Popen[str]:
        free = {name: "127.0.0.1:0" for name in ("VAE_ADDRESS", "VAE_METRICS_ADDRESS")}
        process = subprocess.Popen(
            [sys.executable, "-m", "demo", "--open"],
            cwd=tmp_path,
            env=os.environ | free | {"PYTHONPATH": str(ROOT), "VAE_HTTP_ADDRESS": http_address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, which Ctrl-C reaches as a whole
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_it_serves_until_ctrl_c(started):
    """It says where to look, there is the page, and Ctrl-C in a terminal ends all of it without a complaint."""
    process = started()
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    for line in process.stdout:
        if found := re.search(r"open (http://\S+) in your browser", line):
            break
    watchdog.cancel()
    assert found, process.stderr.read()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(found[1], timeout=SECONDS) as page:
        assert b"<!doctype html>" in page.read()
    os.killpg(process.pid, signal.SIGINT)
    said, complaint = process.communicate(timeout=SECONDS)
    assert (process.returncode, complaint) == (0, "")
    assert said.endswith("stopped\n")


def test_a_port_that_is_taken_is_told_of(started):
    """In one line: which, and how to take another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = started(address)
        _, complaint = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert complaint.count("\n") == 1
    assert f"--http-address {address}: cannot listen there; is the port taken?" in complaint
    assert "VAE_HTTP_ADDRESS" in complaint
