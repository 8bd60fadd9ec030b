"""The service on a GPU against the service on the CPU; skipped, with the reason, where CUDA cannot be had."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from serving.client import AsyncClient
from serving.errors import StartupError
from serving.runtime.cuda_driver import driver
from serving.runtime.providers import ORT_NAMES, Provider, cuda_obstacle
from serving.runtime.session import Session
from serving.server import running
from tests.support import toy
from tests.support.patience import until

OBSTACLE = cuda_obstacle()
needs_gpu = pytest.mark.skipif(OBSTACLE is not None, reason=f"no CUDA: {OBSTACLE}")


async def sampled(settings, provider):
    """Images, latents and the provider of a server of its own."""
    chosen = settings.model_copy(update={"provider": provider})
    async with running(chosen) as server, AsyncClient(server.grpc_address) as client:
        samples = await client.sample("toy", 200, seed=7, latents=True)
        (model,) = await client.models()
        return samples, model.execution_provider


@needs_gpu
async def test_the_same_seed_gives_the_same_rows_on_both(settings):
    """Latents are equal to the bit, for the noise is the CPU's; images to 1e-4."""
    on_cpu, cpu = await sampled(settings, "cpu")
    on_gpu, cuda = await sampled(settings, "cuda")
    assert (cpu, cuda) == ("cpu", "cuda")
    np.testing.assert_array_equal(on_gpu.latents, on_cpu.latents)
    np.testing.assert_allclose(on_gpu.images, on_cpu.images, rtol=0, atol=1e-4)


@needs_gpu
async def test_auto_takes_the_gpu(settings):
    """Where CUDA can be had, it is what `auto` means."""
    _, provider = await sampled(settings, "auto")
    assert provider == "cuda"


@needs_gpu
def test_a_buffer_holds_what_is_written_and_no_more():
    """A part of it at a time, small and large, from and to the GPU; it is zero at first, and what is read is a copy."""
    from serving.runtime.buffers import DeviceBuffer

    for shape in ((8, 3), (8, 1 << 18)):
        buffer = DeviceBuffer(shape)
        assert not buffer.read(8).any()
        rows = np.random.default_rng(0).random((5, shape[1]), np.float32)
        buffer.write(rows)
        first = buffer.read(6)
        np.testing.assert_array_equal(first[:5], rows)
        assert not first[5].any()
        buffer.write(-rows)
        np.testing.assert_array_equal(first[:5], rows)


@needs_gpu
def test_memory_that_is_not_there_is_a_memory_error():
    """And the GPU goes on; what is given back is there again."""
    used, total = driver().memory()
    with pytest.raises(MemoryError):
        driver().allocate(2 * total)
    address = driver().allocate(1 << 30)
    taken, _ = driver().memory()
    assert taken >= used + (1 << 29)
    driver().unwanted(address)
    driver().free_unwanted()
    assert driver().memory()[0] <= taken - (1 << 29)


@needs_gpu
@pytest.mark.parametrize("records", [True, False], ids=["recorded", "not recorded"])
def test_runs_equal_plain_runs(tmp_path, records):
    """For every number of rows, again and again, with CUDA graphs and without; and the graph can be recorded."""
    sealed = toy.make_bundle(tmp_path / "models", with_score=True)
    graph = sealed.manifest.graphs["encoder"]
    given = sealed.content(graph.file), graph
    cpu = Session(*given, Provider("cpu", "tests"), role="encoder")
    gpu = Session(*given, Provider("cuda", "tests", records=records), role="encoder", most_rows=48)
    options = gpu._session.get_provider_options()[ORT_NAMES["cuda"]]
    assert options["enable_cuda_graph"] == str(int(records))
    for rows in (1, 2, 3, 48, 100, 33, 2, 1, 48):
        images = np.random.default_rng(rows).random((rows, *toy.IMAGE_SHAPE), np.float32)
        for came, wanted in zip(gpu(images), cpu(images), strict=True):
            np.testing.assert_allclose(came, wanted, rtol=0, atol=1e-5)


@needs_gpu
async def test_a_model_that_does_not_fit_is_refused_with_figures(settings):
    """A bound that no model keeps: what it took, what is free, what it may take."""
    narrow = settings.model_copy(update={"provider": "cuda", "gpu_memory_mib": 1})
    with pytest.raises(StartupError, match="MiB"):
        async with running(narrow):
            pass


@needs_gpu
async def test_new_versions_while_it_serves(settings, repository):
    """Graphs are recorded, and sessions made, beside the traffic, of several models at once; every answer is right."""
    chosen = settings.model_copy(update={"provider": "cuda"})
    async with running(chosen) as server, AsyncClient(server.grpc_address) as client:
        wanted = (await client.sample("toy", 3, seed=1)).images
        for version in (2, 3):
            toy.make_bundle(repository, version=version)
            toy.make_bundle(repository, name="other", version=version)
        loaded = asyncio.create_task(
            until(lambda: sorted(m.version for m in server.repository.models) == [3, 3])
        )
        while not loaded.done():
            samples = await client.sample("toy", 3, seed=1)
            np.testing.assert_allclose(samples.images, wanted, rtol=0, atol=1e-5)
        await loaded
        used = server.metrics.registry.get_sample_value("vae_gpu_memory_bytes", {"state": "used"})
        assert used > 0


@pytest.mark.skipif(OBSTACLE is None, reason="there is a GPU")
async def test_auto_without_a_gpu_is_the_cpu(settings):
    """And the answer is whole."""
    samples, provider = await sampled(settings, "auto")
    assert provider == "cpu"
    assert np.isfinite(samples.images).all()


@pytest.mark.skipif(OBSTACLE is None, reason="there is a GPU")
def test_the_benchmark_says_what_is_missing():
    """No figures of another device under the name of a GPU."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert OBSTACLE in done.stderr
    assert "Traceback" not in done.stderr
