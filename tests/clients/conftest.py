import pytest

from tests.clients import witness
from tests.support import toy


@pytest.fixture
def repository(tmp_path):
    """Images large enough for a reader to hold the writer up."""
    toy.make_bundle(tmp_path / "models", image_shape=witness.IMAGE_SHAPE)
    return tmp_path / "models"


@pytest.fixture
async def witness_of(server, stub, repository):
    """Of the door named: what a client is asked there, and what it is to see."""

    async def made(transport: str) -> witness.Witness:
        bundle = repository / "toy/1"
        address = f"http://{server.http_address}" if transport == "http" else server.grpc_address
        return await witness.witness(server, stub, bundle, transport, address)

    return made
