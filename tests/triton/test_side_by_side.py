"""Our client and others in one process: each has its own descriptors, whichever is imported first."""

import itertools
import subprocess
import sys

import pytest

from tests.support.patience import SECONDS

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed; `make test` does that")

PROGRAM = """
import sys
{imports}
import numpy as np
address = sys.argv[1]
asked = tritonclient.grpc.InferInput("count", [1], "INT64")
asked.set_data_from_numpy(np.array([3]))
def theirs():
    with tritonclient.grpc.InferenceServerClient(address) as client:
        found = client.infer("toy/sampler", [asked], parameters={{"seed": 7}})
        return found.as_numpy("image"), found.as_numpy("latent")
def ours():
    with serving.client.Client(address) as client:
        found = client.sample("toy", 3, seed=7, latents=True)
        return found.images, found.latents
for one, other in ((theirs, ours), (ours, theirs)):
    for found, wanted in zip(one(), other(), strict=True):
        np.testing.assert_array_equal(found, wanted)
"""


def run(address, *imports):
    program = PROGRAM.format(imports="\n".join(f"import {module}" for module in imports))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, address],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


MODULES = ("tritonclient.grpc", "serving.client", "serving.oip.schema")


@pytest.mark.parametrize("imports", list(itertools.permutations(MODULES)), ids=" ".join)
def test_calls_through_both(server, imports):
    """In every order of import, with the server's own messages of the protocol beside them."""
    run(server.grpc_address, *imports)
