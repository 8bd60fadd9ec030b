"""Several worker processes behind one port."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import worker_pages
from serving.metrics.endpoint import metrics_server
from serving.metrics.registry import Metrics
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from tests.support import patience, process
from tests.support.patience import wait_until


def scrape(server):
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        return answer.read().decode()


def counted(server):
    """OK samples by worker, as one scrape tells."""
    wanted = {"model": "toy", "method": "Sample", "transport": "grpc", "code": "OK"}
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(scrape(server))
        for sample in family.samples
        if sample.name == "vae_requests_total" and wanted.items() <= sample.labels.items()
    }


async def sample(address, calls):
    """Each call on a connection of its own, so that the workers share them."""
    for seed in range(calls):
        async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            await VaeServiceStub(channel).Sample(
                pb.SampleRequest(count=2, seed=seed), timeout=patience.SECONDS
            )


def children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = {int(child) for task in tasks for child in content(task / "children").split()}
    return sorted(child for child in found if b"spawn_main" in content(Path(f"/proc/{child}/cmdline")))


def content(path):
    """Nothing of a process or a thread that has ended since it was found."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_workers_share_a_port_and_are_restarted(repository):
    """Two workers answer on one port; one scrape counts all; a killed one comes back; SIGTERM ends all with 0."""
    with process.serving(repository, "--workers", "2") as server:
        asyncio.run(sample(server.grpc_address, 20))
        assert sum(counted(server).values()) == 20
        assert sorted(counted(server)) == ["0", "1"]
        first, second = children(server.process.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(alive := children(server.process.pid)) == 2 and first not in alive)
        alive = children(server.process.pid)
        assert second in alive
        wait_until(lambda: scrape(server).count("vae_requests_total{"))
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
            wait_until(lambda: accepts(port), explain=log.read_text)
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
        wait_until(lambda: children(server.pid), explain=log.read_text)
        server.terminate()
        assert server.wait(patience.SECONDS) == 0, log.read_text()


def test_workers_do_not_outlive_their_supervisor(repository):
    """A supervisor that is killed takes its workers along: nothing is left holding the port."""
    with process.serving(repository, "--workers", "2") as server:
        workers = children(server.process.pid)
        server.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_workers_do_not_share_a_taken_port(repository):
    """A port that another server holds is refused, reuse or not; a model that cannot be served ends all."""
    with process.serving(repository, "--workers", "2") as server:
        for workers in ("1", "2"):
            code, line = process.refused(repository, "--workers", workers, "--address", server.grpc_address)
            assert (code, "is the port taken?" in line) == (2, True)
    decoder = repository / "toy" / "1" / "decoder.onnx"
    decoder.write_bytes(b"spoilt")
    assert process.refused(repository, "--workers", "2")[0] == 2


def test_pages_are_joined_and_nothing_is_added_up():
    """The samples of a family stand together under one description, each as its worker wrote it, in both formats."""
    text = """# HELP vae_requests_total RPCs.
# TYPE vae_requests_total counter
vae_requests_total{model="m",worker="%d"} %d
# HELP vae_latent_drift Drift.
# TYPE vae_latent_drift gauge
vae_latent_drift{model="m",worker="%d"} NaN
"""
    joined = worker_pages.join([text % (0, 3, 0), text % (1, 4, 1)])
    assert joined.splitlines() == [
        "# HELP vae_requests_total RPCs.",
        "# TYPE vae_requests_total counter",
        'vae_requests_total{model="m",worker="0"} 3',
        'vae_requests_total{model="m",worker="1"} 4',
        "# HELP vae_latent_drift Drift.",
        "# TYPE vae_latent_drift gauge",
        'vae_latent_drift{model="m",worker="0"} NaN',
        'vae_latent_drift{model="m",worker="1"} NaN',
    ]
    assert worker_pages.join([text % (0, 3, 0) + "# EOF\n"] * 2).count("# EOF") == 1


def page(address, accept="*/*"):
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def test_a_page_of_workers_can_be_read_in_both_formats():
    """OpenMetrics and the classic format, with every series told apart by its worker; restricted to names as well."""
    with contextlib.ExitStack() as stack:
        addresses = []
        for worker in (0, 1):
            metrics = Metrics(worker)
            metrics.start_model("toy", methods=["Encode"], sources=["prior"], pools=['it\'s "x"', "a\u2028b"])
            addresses.append(stack.enter_context(metrics_server("127.0.0.1:0", metrics.page())))
        address = stack.enter_context(
            metrics_server("127.0.0.1:0", worker_pages.joined_pages(lambda: addresses))
        )
        openmetrics = page(address, "application/openmetrics-text; version=1.0.0")
        assert openmetrics.endswith("# EOF\n")
        families = {
            "classic": list(text_string_to_metric_families(page(address))),
            "openmetrics": list(openmetrics_families(openmetrics)),
        }
        for form, found in families.items():
            names = [family.name for family in found]
            assert len(names) == len(set(names)), form
            series = [(sample.name, *sorted(sample.labels.items())) for f in found for sample in f.samples]
            assert len(series) == len(set(series)), form
            assert all(sample.labels["worker"] in ("0", "1") for f in found for sample in f.samples), form
        restricted = page(f"{address}/metrics?name[]=vae_queue_rows&x=".removesuffix("/metrics"))
        assert "process_" not in restricted


def test_a_page_that_cannot_be_read_is_no_success():
    """No worker to be reached is an error of the scrape, not an empty page; a proxy is never asked."""
    with (
        pytest.MonkeyPatch.context() as patch,
        metrics_server("127.0.0.1:0", worker_pages.joined_pages(lambda: ["127.0.0.1:1"])) as address,
    ):
        with pytest.raises(urllib.error.HTTPError) as failure:
            page(address)
        failure.value.close()
        assert failure.value.code == 503
        patch.setenv("http_proxy", "http://127.0.0.1:1")
        patch.setenv("no_proxy", "")
        with metrics_server("127.0.0.1:0", Metrics(7).page()) as worker:
            app = worker_pages.joined_pages(lambda: [worker])
            (text,) = app({}, lambda status, headers: None)
        assert b'worker="7"' in text
