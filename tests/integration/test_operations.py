"""What an operator relies on: health, reflection, metrics, reload, start-up errors, shutdown."""

import asyncio
import re
import shutil
import urllib.request

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client.parser import text_string_to_metric_families

from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.settings import Settings
from tests.support import patience, process, toy

SERVING = health_pb2.HealthCheckResponse.SERVING


async def scrape(server):
    url = f"http://{server.metrics_address}/metrics"
    with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_health_is_told_for_the_server_and_each_model(server):
    """Check answers for "", the service and the model; an unknown name is NOT_FOUND."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "vae.v1.VaeService", "toy"):
            assert (await health.Check(health_pb2.HealthCheckRequest(service=service))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await health.Check(health_pb2.HealthCheckRequest(service="nope"))
        assert refusal.value.code() == grpc.StatusCode.NOT_FOUND


async def test_reflection_describes_the_api(server):
    """A client without our protos can list and describe every method."""

    def look():
        with grpc.insecure_channel(server.grpc_address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            file = database.FindFileContainingSymbol("vae.v1.VaeService")
            return set(database.get_services()), [method.name for method in file.service[0].method]

    services, methods = await asyncio.to_thread(look)
    assert {"vae.v1.VaeService", "grpc.health.v1.Health"} <= services
    assert "Sample" in methods


async def test_metrics_count_what_happened(server, stub):
    """Requests, rows, samples and refusals are counted once each; rows in equal rows out."""
    before = await scrape(server)
    assert before["vae_model_ready", ("model", "toy")] == 1
    assert before["vae_samples_total", ("model", "toy"), ("source", "prior")] == 0
    for _ in range(3):
        await stub.Sample(pb.SampleRequest(count=100))
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Sample(pb.SampleRequest(count=0))
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Sample(pb.SampleRequest(model={"name": "x" * 50}, count=1))
    after = await scrape(server)
    sample, decoder = (("method", "Sample"), ("model", "toy")), (("graph", "decoder"), ("model", "toy"))
    grpc_door = ("transport", "grpc")
    assert after["vae_requests_total", ("code", "OK"), *sample, grpc_door] == 3
    assert after["vae_requests_total", ("code", "INVALID_ARGUMENT"), *sample, grpc_door] == 1
    unknown = (
        "vae_requests_total",
        ("code", "NOT_FOUND"),
        ("method", "Sample"),
        ("model", "_unknown"),
        grpc_door,
    )
    assert after[unknown] == 1
    assert after["vae_samples_total", ("model", "toy"), ("source", "prior")] == 300
    assert after["vae_batch_rows_sum", *decoder] == 300
    assert after["vae_inflight_requests", *sample] == 0
    assert after["vae_request_duration_seconds_count", *sample] == 4
    assert not any("x" * 50 in str(key) for key in after)


async def test_drift_is_measured_on_encode_traffic(server, stub):
    """Latent drift, KL and active units move once there is Encode traffic."""
    images = np.random.default_rng(0).random((300, *toy.IMAGE_SHAPE), np.float32)
    from serving.wire.tensors import from_array

    await stub.Encode(pb.EncodeRequest(images={"tensor": from_array(images)}))
    mean, log_var = toy.encode(images)
    wanted = (0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)).sum(axis=1).mean()
    read = server.metrics.registry.get_sample_value
    # Drift looks at a batch when its callers are answered.
    await patience.until(
        lambda: read("vae_posterior_kl_nats", {"model": "toy"}) == pytest.approx(wanted, rel=1e-4)
    )
    after = await scrape(server)
    assert after["vae_latent_drift", ("model", "toy"), ("statistic", "mean_shift")] > 0


async def test_a_new_version_takes_over_and_a_bad_one_does_not(server, stub, repository):
    """Reload swaps without a failed request; a version that does not verify changes nothing."""

    async def version():
        return (await stub.Sample(pb.SampleRequest(count=1))).model.version

    assert await version() == 1
    toy.make_bundle(repository, version=2, seed=5)

    await patience.until(lambda: server.repository.models[0].version == 2)
    assert await version() == 2
    toy.make_bundle(repository, version=3, golden_error=0.5)
    (toy.make_bundle(repository, version=4).root / "decoder.onnx").write_bytes(b"altered")
    await server.repository.refresh()
    assert await version() == 2
    series = await scrape(server)
    assert series["vae_reloads_total", ("model", "toy"), ("outcome", "ok")] == 2
    assert series["vae_reloads_total", ("model", "toy"), ("outcome", "refused")] == 2
    assert series["vae_refused_versions", ("model", "toy")] == 2
    toy.make_bundle(repository, name="other")
    await server.repository.refresh()
    assert [model.name for model in server.repository.models] == ["other", "toy"]
    shutil.rmtree(repository / "other")
    await server.repository.refresh()
    assert [model.name for model in server.repository.models] == ["toy"]
    assert await version() == 2


async def test_no_request_fails_during_a_reload(server, stub, repository):
    """A request that began on the old version finishes on it."""
    stop = asyncio.Event()
    versions = set()

    async def ask():
        while not stop.is_set():
            answer = await stub.Reconstruct(
                pb.ReconstructRequest(images={"tensor": REQUEST_IMAGES}, model={"name": "toy"})
            )
            versions.add(answer.model.version)

    tasks = [asyncio.create_task(ask()) for _ in range(8)]
    for version in (2, 3, 4):
        toy.make_bundle(repository, version=version, seed=version)
        await server.repository.refresh()
        await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*tasks)
    assert 4 in versions


def test_a_server_that_cannot_start_says_why(tmp_path, repository):
    """Exit code 2 and one line that names the setting or file."""
    empty = tmp_path / "empty"
    empty.mkdir()
    assert process.refused(tmp_path / "none") == (
        2,
        f"vae-serve: error: --repository {tmp_path / 'none'}: want a folder of <model>/<version>/ bundles",
    )
    code, line = process.refused(empty)
    assert (code, "no <model>/<version>/manifest.json in it" in line) == (2, True)
    decoder = repository / "toy" / "1" / "decoder.onnx"
    decoder.write_bytes(decoder.read_bytes()[:-5])
    code, line = process.refused(repository)
    assert code == 2
    assert "decoder.onnx: want" in line


def test_a_taken_port_is_an_error(repository):
    """Two servers never share a port in silence."""
    with process.serving(repository) as server:
        code, line = process.refused(repository, "--address", server.grpc_address)
        assert (code, "is the port taken?" in line) == (2, True)
        code, line = process.refused(repository, "--metrics-address", server.metrics_address)
        assert (code, "--metrics-address" in line) == (2, True)


def test_sigterm_loses_nothing_that_was_accepted(repository, tmp_path):
    """Under load every call is answered or refused as UNAVAILABLE, and exactly those that the server counts as
    answered have arrived; exit code 0."""
    sizes, refusals = [], []

    async def load(server):
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            stub = VaeServiceStub(channel)
            warm = asyncio.Event()

            async def client():
                while True:
                    try:
                        answer = await stub.Sample(
                            pb.SampleRequest(count=256, seed=1), timeout=patience.SECONDS
                        )
                    except grpc.aio.AioRpcError as exc:
                        refusals.append(exc)
                        return
                    sizes.append(len(answer.images.tensor.data))
                    if len(sizes) == 96:
                        warm.set()

            tasks = [asyncio.create_task(client()) for _ in range(48)]
            await warm.wait()
            code = await asyncio.to_thread(server.terminate)
            await asyncio.gather(*tasks)
            return code

    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        process.serving(repository, "--max-batch-rows", "16", stderr=stderr) as server,
    ):
        assert asyncio.run(load(server)) == 0
    assert set(sizes) == {256 * toy.PIXELS * 4}
    assert {refusal.code() for refusal in refusals} == {grpc.StatusCode.UNAVAILABLE}, refusals
    counted = dict(re.findall(r"([A-Z_]+)=(\d+)", log.read_text().rpartition("calls since the start")[2]))
    assert int(counted.pop("OK")) == len(sizes)
    assert counted.keys() <= {"UNAVAILABLE"}


async def test_a_token_is_required_when_configured(repository, tmp_path):
    """With auth_token_file every call of the API needs the bearer token; health does not."""
    (tmp_path / "token").write_text("s3cret\n")
    settings = Settings(
        repository=repository,
        address="127.0.0.1:0",
        http_address="",
        metrics_address="127.0.0.1:0",
        auth_token_file=tmp_path / "token",
    )
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        stub = VaeServiceStub(channel)
        for metadata in (None, (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await stub.ListModels(pb.ListModelsRequest(), metadata=metadata)
            assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED
        allowed = (("authorization", "Bearer s3cret"),)
        assert (await stub.ListModels(pb.ListModelsRequest(), metadata=allowed)).models
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING


REQUEST_IMAGES = {
    "dtype": "DATA_TYPE_FLOAT32",
    "shape": [40, *toy.IMAGE_SHAPE],
    "data": bytes(40 * toy.PIXELS * 4),
}
