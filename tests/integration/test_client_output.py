"""What ``vae-client`` prints and writes, against a server on a real socket."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from serving.client.__main__ import main
from tests.support import patience, toy
from tests.support.process import serving

IMAGES = np.random.default_rng(3).random((25, *toy.IMAGE_SHAPE), np.float32)


@pytest.fixture(scope="module", params=["grpc", "http"])
def address(request, tmp_path_factory):
    """A server in a process of its own, by each of its doors."""
    repository = tmp_path_factory.mktemp("models")
    toy.make_bundle(repository, with_score=True, quantiles=np.linspace(10, 30, 101, dtype=np.float32))
    with serving(repository) as server:
        yield server.grpc_address if request.param == "grpc" else f"http://{server.http_address}"
        assert server.terminate() == 0


def test_scores_and_posteriors_name_their_files(address, tmp_path, capsys, monkeypatch):
    """A row of a folder says which file it is of, in the table and in the arrays."""
    monkeypatch.setenv("VAE_ADDRESS", address)
    expected = []
    for name in ("b/1.jfif", "a/img", "a/2.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), len(expected)).save(path, format="PNG")
        expected.append(str(path))
    expected.sort()
    common = ["--model", "toy", str(tmp_path / "photos")]
    assert main(["score", *common]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["FILE", "NELBO", "DISTORTION", "RATE", "NLL", "QUANTILE"]
    assert [line.split()[0] for line in table[1:]] == expected
    for command in ("score", "encode", "reconstruct"):
        out = tmp_path / f"{command}.npz"
        assert main([command, *common, "--out", str(out)]) == 0
        with np.load(out) as arrays:
            assert arrays["files"].tolist() == expected


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["models", "--json"],
        ["score", "--model", "toy", "x.npy"],
        ["--help"],
        ["sample", "--help"],
    ],
    ids=" ".join,
)
def test_output_that_cannot_be_written(address, tmp_path, arguments, unbuffered):
    """`vae-client models > /dev/full`: one line and a status other than 0, no traceback."""
    np.save(tmp_path / "x.npy", IMAGES)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "serving.client", *arguments],
            cwd=tmp_path,
            env=os.environ | {"VAE_ADDRESS": address, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=patience.SECONDS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "vae-client: standard output: No space left on device\n")


@pytest.mark.parametrize("how", [[], ["--stream"]], ids=["calls", "stream"])
def test_a_job_that_fills_the_memory_is_refused(address, tmp_path, capsys, monkeypatch, how):
    """After the first rows, whose size tells; nothing is written."""
    monkeypatch.setenv("VAE_ADDRESS", address)
    out = tmp_path / "x.npz"
    assert main(["sample", "--model", "toy", "--count", str(10**12), *how, "--out", str(out)]) == 2
    assert "came 1,000,000,000,000; take them in parts" in capsys.readouterr().err
    assert not out.exists()


def test_a_terminal_without_the_letters(address, tmp_path):
    """Names that its encoding lacks are escaped, not a traceback."""
    Image.new("L", (6, 4)).save(tmp_path / "кот.png")
    done = subprocess.run(
        [sys.executable, "-m", "serving.client", "score", "--model", "toy", str(tmp_path)],
        env=os.environ | {"VAE_ADDRESS": address, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u043a\\u043e\\u0442.png" in done.stdout
