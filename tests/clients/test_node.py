"""Programs on Node: the Connect project's client, and gRPC's own."""

import pytest

from tests.clients import installed
from tests.clients.asking import asking
from tests.clients.witness import check

pytestmark = pytest.mark.slow

CONNECT_NODE = {
    "connect 1.1": ("connect", "1.1"),
    "connect 2": ("connect", "2"),
    "connect 1.1 json": ("connect", "1.1", "json"),
    "connect 2 json": ("connect", "2", "json"),
    "grpc-web 1.1": ("grpc-web", "1.1"),
    "grpc-web 2": ("grpc-web", "2"),
}


@pytest.fixture
def node(tmp_path):
    """The program, with ``tmp_path`` laid out for it."""
    found = installed.find_node()
    installed.lay_out(tmp_path)
    return found


@pytest.mark.parametrize("kind", CONNECT_NODE)
async def test_connect_node_at_the_http_door(node, tmp_path, witness_of, kind):
    """Every protocol, version of HTTP and form of messages shows what gRPC shows; a stream that is left is CANCELLED."""
    truth = await witness_of("http")
    async with asking([node, "connect_node.mjs", *CONNECT_NODE[kind]], tmp_path, truth.task) as seen:
        check(seen, truth.truth)
        await truth.settled()


async def test_connect_node_at_the_grpc_door(node, tmp_path, witness_of):
    """The same client with its gRPC transport."""
    truth = await witness_of("grpc")
    task = truth.task | {"address": f"http://{truth.task['address']}"}
    async with asking([node, "connect_node.mjs", "grpc", "2"], tmp_path, task) as seen:
        check(seen, truth.truth)
        await truth.settled()


async def test_grpc_js_with_the_protos_as_they_are(node, tmp_path, witness_of):
    """@grpc/grpc-js needs nothing but protos/ and the address."""
    truth = await witness_of("grpc")
    protos = str(installed.ROOT / "protos")
    async with asking([node, "grpc_js.mjs", protos], tmp_path, truth.task) as seen:
        check(seen, truth.truth)
        await truth.settled()
