"""Models, a server of them, and a browser that visits it; each once for all tests of a process.

    def test_x(visit):
        page = visit("view=map&model=digits").page

VAE_EXPLORER_MODELS names a folder for the models; what is in it is not trained again.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serving.client import Client
from tests.explorer import browser as browsers
from tests.explorer import installed, odd_models, trained
from tests.explorer.browser import Visit, visiting
from tests.support.process import Server, serving

_SLOWLY_S = 3600.0
"""The first test waits until all is trained: some minutes, on a busy machine many."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(_SLOWLY_S))


@pytest.fixture(scope="session")
def mnist_dir() -> Path | None:
    """The folder with ``mnist/``, if there is one."""
    folder = Path(os.environ.get("VAE_TEST_DATA", installed.ROOT.parent / "shared/data"))
    return folder if (folder / "mnist").is_dir() else None


@pytest.fixture(scope="session")
def repository(tmp_path_factory, mnist_dir) -> Path:
    """With ``digits``, ``digits-ae``, and ``mnist`` where its data are."""
    kept = os.environ.get("VAE_EXPLORER_MODELS")
    root = Path(kept) if kept else tmp_path_factory.mktemp("models")
    trained.train(root, tmp_path_factory.mktemp("runs"), mnist_dir)
    return root


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with browsers.launched() as launched:
        yield launched


@pytest.fixture(scope="session")
def server(browser, repository) -> Iterator[Server]:
    """Of all the models. Asked for after the browser, so that nothing is trained where there is none."""
    with serving(repository) as started:
        yield started


@pytest.fixture(scope="session")
def odd(browser, tmp_path_factory) -> Iterator[Server]:
    """Of models that no picture fits, or that lack what others have: see ``odd_models``."""
    with serving(odd_models.make(tmp_path_factory.mktemp("odd")), "--max-rows", "50") as started:
        yield started


@pytest.fixture
def client(server) -> Iterator[Client]:
    """What the page shows, asked for by another way."""
    with Client(server.grpc_address) as made:
        yield made


@pytest.fixture
def visit(browser, server) -> Iterator[Callable[..., Visit]]:
    """Opens the page at a fragment, as ``visiting`` does; ``address`` is of another server."""
    with ExitStack() as stack:

        def opened(fragment: str = "", *, address: str = server.http_address, **more: bool) -> Visit:
            return stack.enter_context(visiting(browser, address, fragment, **more))

        yield opened


@pytest.fixture
def has_mnist(mnist_dir) -> None:
    """Skips a test that wants the model of MNIST where its data are not."""
    if mnist_dir is None:
        pytest.skip("no test data of MNIST; set VAE_TEST_DATA")
