"""Triton's load generator over both doors."""

import asyncio
import json
import re

import pytest

from tests.clients import installed

pytestmark = pytest.mark.slow

INPUTS = {"encoder": "zero", "decoder": "zero", "sampler": {"data": [{"count": [2]}]}}
"""By part; its default, random bits, is no image."""
ANYTHING_IS_STABLE = "999"
"""Per cent by which windows may differ: how steady this machine is says nothing of the server."""


@pytest.mark.parametrize("part", INPUTS)
@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_perf_analyzer_measures(server, transport, part, tmp_path):
    """It finds the model and its shapes, calls it by binary tensors, finds the server's own statistics, and ends
    with a measurement and no failed request."""
    program, environment = installed.find_perf_analyzer()
    address = server.http_address if transport == "http" else server.grpc_address
    inputs = INPUTS[part]
    if isinstance(inputs, dict):
        inputs = tmp_path / "inputs.json"
        inputs.write_text(json.dumps(INPUTS[part]))
    command = [program, "-m", f"toy/{part}", "-u", address, "-i", transport, "--input-data", str(inputs)]
    command += ["--measurement-mode", "count_windows", "--measurement-request-count", "20"]
    command += ["--concurrency-range", "2", "--stability-percentage", ANYTHING_IS_STABLE]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0, printed
    assert "failed" not in printed.lower(), printed
    server_side = re.search(r"Server:.*?Inference count: (\d+)", printed, re.DOTALL)
    assert server_side, printed
    assert int(server_side[1]) >= 20, printed
    assert re.search(r"Concurrency: 2, throughput: [1-9][\d.]* infer/sec", printed), printed
