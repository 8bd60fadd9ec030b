"""PyPI's connectrpc, the Connect project's client for Python, with a protobuf of its own."""

import pytest

from tests.clients import installed
from tests.clients.asking import asking, output_of
from tests.clients.witness import check

pytestmark = pytest.mark.slow

AS_IT_COMES = """
import sys
from connectrpc.errors import ConnectError
from vae.v1.vae_service_connect import VaeServiceClientSync
from vae.v1.vae_service_pb import ListModelsRequest
try:
    VaeServiceClientSync(sys.argv[1]).list_models(ListModelsRequest())
except ConnectError as error:
    print(error.code.value, error.message, sep=": ")
"""


@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize(
    ("protocol", "version"),
    [("CONNECT", "1.1"), ("CONNECT", "2"), ("GRPC_WEB", "1.1"), ("GRPC_WEB", "2"), ("GRPC", "2")],
)
async def test_connectrpc(tmp_path, witness_of, protocol, version, kind):
    """Every protocol and version of HTTP shows what gRPC shows; a stream that is left is CANCELLED."""
    python = installed.find_python()
    truth = await witness_of("grpc" if protocol == "GRPC" else "http")
    address = truth.task["address"]
    task = truth.task | {"address": address if "//" in address else f"http://{address}"}
    command = [python, str(installed.PROGRAMS / "connect_python.py"), protocol, version, kind]
    path = str(installed.FOLDER / "python")
    async with asking(command, tmp_path, task, PYTHONPATH=path) as seen:
        check(seen, truth.truth)
        await truth.settled()


async def test_a_request_that_it_has_compressed(server):
    """It does so unless told otherwise, and is told what is wanted."""
    command = ["env", f"PYTHONPATH={installed.FOLDER / 'python'}", installed.find_python(), "-c", AS_IT_COMES]
    code, said, complaint = await output_of(*command, f"http://{server.http_address}")
    assert (code, complaint) == (0, "")
    assert said.decode() == "unimplemented: content-encoding: want identity, came 'gzip'\n"
