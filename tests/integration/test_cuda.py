"""The service on a GPU against the service on the CPU; skipped, with the reason, where CUDA cannot be had."""

import subprocess
import sys

import numpy as np
import pytest

from serving.client import AsyncClient
from serving.models.providers import cuda_obstacle
from serving.server import running

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
