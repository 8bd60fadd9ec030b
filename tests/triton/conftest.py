"""A server as it is installed, for clients that have other versions of gRPC and protobuf: see requirements.txt."""

import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import toy
from tests.support.process import Server, serving

TRITON = "tritonclient"


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    toy.make_bundle(root, "toy", with_score=True)
    return root


@pytest.fixture(scope="module")
def server(repository) -> Iterator[Server]:
    """With the packages of .venv: the folder of the clients is not on its path."""
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = [folder for folder in folders if folder and not Path(folder, TRITON).is_dir()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(own))
        started = serving(repository, "--max-rows", "300")
        found = started.__enter__()
    try:
        yield found
    finally:
        started.__exit__(None, None, None)


@dataclass(frozen=True)
class Door:
    """One of the server's, and the client library's module for it."""

    name: str
    triton: Any
    address: str

    def client(self) -> Any:
        """To be used in a ``with``."""
        return self.triton.InferenceServerClient(self.address)


def door_of(server: Server, name: str) -> Door:
    """Skips the test where there is none."""
    address = getattr(server, f"{name}_address", None)
    if not address:
        pytest.skip(f"the server has no door for {name}")
    return Door(name, importlib.import_module(f"{TRITON}.{name}"), address)


@pytest.fixture(params=["grpc", "http"])
def door(request, server) -> Door:
    return door_of(server, request.param)


@pytest.fixture
def client(door):
    with door.client() as opened:
        yield opened
