import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import hypothesis
import pytest
import uvloop

from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import Running, running
from serving.settings import Settings
from tests.support import collector, toy
from tests.support.both_clients import calls, no_pauses  # noqa: F401  # fixtures

# A shell's background jobs ignore Ctrl-C, and so would all that tests start in order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Networks of tests are too small to be shared among threads, which wait for each other. Before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on asyncio's own loop; those of sockets on the server's as well, if they are marked so."""
    factories = {"asyncio": asyncio.new_event_loop}
    if item.get_closest_marker("both_loops"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
def repository(tmp_path) -> Path:
    """A repository with the toy model in it."""
    root = tmp_path / "models"
    toy.make_bundle(root)
    return root


@pytest.fixture
def settings(repository) -> Settings:
    """The toy repository on free ports, with quick reloads."""
    return Settings(
        repository=repository,
        address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        metrics_address="127.0.0.1:0",
        reload_s=0.05,
        max_rows=300,
    )


@pytest.fixture
async def server(settings) -> Running:
    """A whole server on a real socket."""
    async with running(settings) as started:
        yield started


@pytest.fixture
async def stub(server):
    """A bare gRPC stub, as any client in any language has it."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        yield VaeServiceStub(channel)


@pytest.fixture
def heard(monkeypatch) -> Iterator[collector.Collector]:
    """A collector of traces, and the variables that send spans to it without delay."""
    with collector.collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "5")
        yield found


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with `mnist/` and `photos/`; tests that want it are skipped where it is not."""
    folder = Path(os.environ.get("VAE_TEST_DATA", Path(__file__).parents[2] / "shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set VAE_TEST_DATA")
    return folder
