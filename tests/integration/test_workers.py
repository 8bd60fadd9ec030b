"""Several worker processes behind one port."""

import asyncio
import math
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import grpc
import pytest

from serving.metrics import worker_pages
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from tests.support import process


def scrape(server):
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        return answer.read().decode()


def counted(server):
    """OK samples over all workers, as one scrape tells."""
    wanted = 'vae_requests_total{model="toy",method="Sample",code="OK"}'
    labels = {'model="toy"', 'method="Sample"', 'code="OK"'}
    for line in scrape(server).splitlines():
        if line.startswith("vae_requests_total{") and labels <= set(
            line[line.index("{") + 1 : line.index("}")].split(",")
        ):
            return float(line.rpartition(" ")[2])
    raise AssertionError(f"no {wanted}")


async def sample(address, calls):
    """Each call on a connection of its own, so that the workers share them."""
    for seed in range(calls):
        async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            await VaeServiceStub(channel).Sample(pb.SampleRequest(count=2, seed=seed), timeout=20)


def children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    return sorted(c for c in found if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes())


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_workers_share_a_port_and_are_restarted(repository):
    """Two workers answer on one port; one scrape counts all; a killed one comes back; SIGTERM ends all with 0."""
    with process.serving(repository, "--workers", "2") as server:
        asyncio.run(sample(server.grpc_address, 20))
        assert counted(server) == 20
        first, second = children(server.process.pid)
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + 30
        while len(alive := children(server.process.pid)) < 2 or first in alive:
            assert time.monotonic() < end, "the killed worker was not replaced"
            time.sleep(0.1)
        assert second in alive
        while scrape(server).count("vae_requests_total{") == 0:
            time.sleep(0.1)
        asyncio.run(sample(server.grpc_address, 5))
        assert server.terminate() == 0
        assert not any(Path(f"/proc/{worker}").exists() for worker in alive)


def test_workers_listen_together(repository, tmp_path):
    """Nobody can connect before every worker has loaded its models: a connection stays with its worker, so the
    first clients would load the first worker alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    command = process.command(repository, "--workers", "3", "--address", f"127.0.0.1:{port}")
    with log.open("w") as stderr, subprocess.Popen(command, stdout=stderr, stderr=stderr) as server:
        try:
            end = time.monotonic() + 60
            while not accepts(port):
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.002)
            assert log.read_text().count("model toy version 1 ready") == 3
        finally:
            server.terminate()
    assert server.returncode == 0, log.read_text()


def test_workers_can_be_stopped_while_they_start(repository, tmp_path):
    """SIGTERM before the port is open ends the workers that wait for each other, without an error."""
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(process.command(repository, "--workers", "2"), stderr=stderr) as server,
    ):
        end = time.monotonic() + 60
        while not children(server.pid):
            assert time.monotonic() < end, log.read_text()
        server.terminate()
        assert server.wait(30) == 0, log.read_text()


def test_workers_do_not_outlive_their_supervisor(repository):
    """A supervisor that is killed takes its workers along: nothing is left holding the port."""
    with process.serving(repository, "--workers", "2") as server:
        workers = children(server.process.pid)
        server.process.kill()
        end = time.monotonic() + 20
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < end, "a worker is still there"
            time.sleep(0.1)


def test_workers_do_not_share_a_taken_port(repository):
    """A port that another server holds is refused, reuse or not; a model that cannot be served ends all."""
    with process.serving(repository, "--workers", "2") as server:
        for workers in ("1", "2"):
            code, line = process.refused(repository, "--workers", workers, "--address", server.grpc_address)
            assert (code, "is the port taken?" in line) == (2, True)
    decoder = repository / "toy" / "1" / "decoder.onnx"
    decoder.write_bytes(b"spoilt")
    assert process.refused(repository, "--workers", "2")[0] == 2


def test_merging_adds_what_adds():
    """Counters and histograms add up; readiness is that of the worst, information is said once."""
    text = """
# TYPE vae_requests_total counter
vae_requests_total{model="m"} %d
# TYPE vae_model_ready gauge
vae_model_ready{model="m"} %d
# TYPE vae_model_info gauge
vae_model_info{version="1"} 1
# TYPE vae_latent_drift gauge
vae_latent_drift{model="m"} %s
# TYPE vae_queue_rows gauge
vae_queue_rows{model="m"} %d
"""
    merged = worker_pages.merge([text % (3, 1, "0.5", 10), text % (4, 0, "NaN", 5)])
    values = {sample.name: sample.value for family in merged for sample in family.samples}
    assert values == {
        "vae_requests_total": 7,
        "vae_model_ready": 0,
        "vae_model_info": 1,
        "vae_latent_drift": pytest.approx(0.5),
        "vae_queue_rows": 15,
    }
    assert math.isnan(worker_pages._mean([math.nan]))
