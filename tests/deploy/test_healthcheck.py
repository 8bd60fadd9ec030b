"""`python -m serving.healthcheck`, which container engines run, against a real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy import tools
from tests.support import process, toy


def check(*flags: str, **environment: str) -> tuple[int, str]:
    """Exit code and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "serving.healthcheck", *flags],
        env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture
def repository(tmp_path) -> Path:
    toy.make_bundle(tmp_path)
    return tmp_path


def test_health_by_the_servers_own_address(repository):
    """0 while the server or the model asked for is in service; 1 and one line for a model it has not, and once it is gone."""
    with process.serving(repository) as server:
        port = server.grpc_address.rpartition(":")[2]
        own = {"VAE_ADDRESS": f"0.0.0.0:{port}"}
        assert check(**own) == (0, "")
        assert check("--service", "toy", **own) == (0, "")
        code, line = check("--service", "another", **own)
        assert (code, line.count("\n")) == (1, 1)
        assert line.startswith(f"unhealthy: another at localhost:{port}: NOT_FOUND")
    code, line = check(**own)
    assert (code, line.count("\n")) == (1, 1)
    assert "UNAVAILABLE" in line


def test_health_over_tls(repository):
    """With the server's own certificate as the authority, or another file; a certificate that is missing is named."""
    certificate, key = repository / "tls.crt", repository / "tls.key"
    made = tools.run(
        tools.find("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:models.example.com", "-keyout", key, "-out", certificate,
    )  # fmt: skip
    assert not made.returncode, made.stderr
    flags = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    with process.serving(repository, *flags) as server:
        own = {"VAE_ADDRESS": server.grpc_address, "VAE_TLS_CERTIFICATE": str(certificate)}
        assert check("--name", "models.example.com", **own) == (0, "")
        assert check(**own)[0] == 1  # the name localhost is not in the certificate
        code, line = check("--ca", str(repository / "missing.crt"), **own)
        assert (code, line.endswith("missing.crt: No such file or directory\n")) == (1, True)
