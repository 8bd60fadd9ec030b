"""Our server as the check starts it, gRPC alone beside it, and the requests that both get."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.processes import ServerProcess, free_port, running, wait_for_port
from benchmarks.serving.servers import Vaeserve, vaeserve
from serving import bundle
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.runtime.providers import ProviderName
from serving.wire.tensors import from_array

Rows = NDArray[np.float32]

_START_S = 240.0
_FLAGS = (
    "--max-message-mib=2000",
    "--max-streams=100",
    "--load-memory-mib=32768",
    f"--load-timeout-s={_START_S:.0f}",
    "--reload-s=0",
)
"""The large network's replies have hundreds of MiB, and itself takes its time to be loaded."""
_FORMATS = {"uint8": tensors_pb2.IMAGE_FORMAT_UINT8, "float32": tensors_pb2.IMAGE_FORMAT_FLOAT32}
MAX_BATCH_ROWS = {"toy": 1024, "conv": 1024, "large": 8}
"""The large network keeps 2 GiB a row between its layers; with 8 rows a batch takes a third of a second."""


@contextlib.contextmanager
def server(repository: Path, provider: ProviderName, log: Path, max_batch_rows: int) -> Iterator[Vaeserve]:
    """Listening and warm."""
    flags = (f"--provider={provider}", f"--max-batch-rows={max_batch_rows}", *_FLAGS)
    with vaeserve(repository, log, *flags, start_s=_START_S) as started:
        yield started


@contextlib.contextmanager
def echo(reply: Path, log: Path) -> Iterator[tuple[ServerProcess, int]]:
    """gRPC alone, with a canned reply."""
    port = free_port()
    command = [
        sys.executable, "-m", "benchmarks.serving.bare", "--style=aio", "--loop=uvloop",
        f"--port={port}", f"--reply={reply}",
    ]  # fmt: skip
    with running(command, log) as process:
        wait_for_port(process, port, _START_S)
        yield process, port


@contextlib.contextmanager
def unbatched(file: Path, device: ProviderName, log: Path) -> Iterator[int]:
    """The port of gRPC with the graph in its handler."""
    port = free_port()
    module = ["-m", "benchmarks.gpu.unbatched"]
    command = [sys.executable, *module, f"--port={port}", f"--file={file}", f"--device={device}"]
    with running(command, log) as process:
        wait_for_port(process, port, _START_S)
        yield port


def decode_request(model: str, latents: Rows, form: str) -> bytes:
    message = pb.DecodeRequest(
        model=models_pb2.ModelRef(name=model), latents=from_array(latents), image_format=_FORMATS[form]
    )
    return message.SerializeToString()


def latents(repository: Path, model: str, rows: int) -> Rows:
    shape = manifest(repository, model).latent_shape
    return np.random.default_rng(0).standard_normal((rows, *shape), np.float32)


def images(repository: Path, model: str, rows: int) -> Rows:
    spec = manifest(repository, model).image
    assert spec
    shape = spec.shape
    return np.random.default_rng(1).random((rows, *shape), np.float32)


def manifest(repository: Path, model: str) -> bundle.Manifest:
    return bundle.read(repository / model / "1", 1 << 40).manifest
