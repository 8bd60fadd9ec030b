"""Interpolation and streams on a real socket."""

import grpc
import numpy as np
import pytest

from serving.latent import interpolation
from serving.pb.vae.v1 import tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire.tensors import from_array
from tests.support import toy
from tests.support.patience import until


def array(tensor):
    return np.frombuffer(tensor.data, np.float32).reshape(tuple(tensor.shape))


async def test_a_stream_is_the_same_rows_as_one_sample(stub):
    """However it is cut into responses, a stream gives the rows of the seed, in order, beyond max_rows."""
    whole = await stub.Sample(pb.SampleRequest(count=300, seed=4, include_latents=True))
    request = pb.SampleRequest(count=1000, seed=4, include_latents=True, pool="")
    request.ClearField("pool")
    parts = [
        part async for part in stub.SampleStream(pb.SampleStreamRequest(sample=request, rows_per_response=77))
    ]
    assert [part.first_row for part in parts] == list(range(0, 1000, 77))
    assert {part.seed for part in parts} == {4}
    latents = np.concatenate([array(part.latents) for part in parts])
    assert latents.shape == (1000, toy.LATENTS)
    assert np.array_equal(latents[:300], array(whole.latents))
    images = np.concatenate([array(part.images.tensor) for part in parts])
    np.testing.assert_allclose(images, toy.decode(latents), atol=1e-5)


async def test_a_reader_who_stops_stops_the_work(stub, server):
    """Nothing is drawn for a stream that nobody reads: the server holds a few responses, no more, while another
    that is read goes on."""
    registry = server.metrics.registry
    call = stub.SampleStream(pb.SampleStreamRequest(sample=pb.SampleRequest(count=10**9)))
    assert (await call.read()).first_row == 0
    other = stub.SampleStream(pb.SampleStreamRequest(sample=pb.SampleRequest(count=300_000, pool="one")))
    async for _ in other:
        pass
    assert registry.get_sample_value("vae_samples_total", {"model": "toy", "source": "pool"}) == 300_000
    assert registry.get_sample_value("vae_samples_total", {"model": "toy", "source": "prior"}) < 200_000
    call.cancel()
    labels = {"model": "toy", "method": "SampleStream"}
    await until(lambda: registry.get_sample_value("vae_inflight_requests", labels) == 0)


@pytest.mark.parametrize("path", [pb.INTERPOLATION_PATH_LINEAR, pb.INTERPOLATION_PATH_SPHERICAL])
async def test_a_walk_meets_its_points(stub, path):
    """Every point is on the way exactly, and the images are those of the latents."""
    points = np.float32([[3, 0, 0], [0, 2, 0], [0, 0, -1]])
    answer = await stub.Interpolate(
        pb.InterpolateRequest(latents=from_array(points), steps=4, path=path, include_latents=True)
    )
    latents = array(answer.latents)
    assert latents.shape == (9, 3)
    np.testing.assert_allclose(latents[::4], points, atol=1e-6)
    np.testing.assert_allclose(array(answer.images.tensor), toy.decode(latents), atol=1e-5)
    norms = np.linalg.norm(latents, axis=1)
    if path == pb.INTERPOLATION_PATH_SPHERICAL:
        np.testing.assert_allclose(norms[:5], np.linspace(3, 2, 5), atol=1e-6)


async def test_a_walk_between_images(stub):
    """Images are walked between at their posterior means."""
    images = np.random.default_rng(0).random((2, *toy.IMAGE_SHAPE), np.float32)
    request = pb.InterpolateRequest(
        images=tensors_pb2.Images(tensor=from_array(images)), steps=1, include_latents=True
    )
    answer = await stub.Interpolate(request)
    np.testing.assert_allclose(array(answer.latents), toy.encode(images)[0], atol=1e-6)


@pytest.mark.parametrize("dimensions", [2, 3, 16])
def test_a_spherical_walk_between_opposite_points_keeps_the_norm(dimensions):
    """Every way round is as short; one is taken, the same each time, and none goes through zero."""
    for seed in range(5):
        start = np.random.default_rng(seed).normal(size=dimensions).astype(np.float32)
        points = np.stack([start, -2 * start, start * np.float32(1 + 1e-7)])
        walked = interpolation.walk(points, 8, spherical=True)
        norms = np.linalg.norm(walked, axis=1) / np.linalg.norm(start)
        np.testing.assert_allclose(norms[:9], np.linspace(1, 2, 9), rtol=1e-4)
        assert norms.min() > 0.99
        steps = np.linalg.norm(np.diff(walked, axis=0), axis=1)
        assert steps.max() < 2 * steps.min()
        np.testing.assert_array_equal(walked, interpolation.walk(points, 8, spherical=True))


def test_parallel_and_zero_points_have_no_angle():
    """Where there is nothing to turn, spherical is linear."""
    points = np.float32([[1, 1], [2, 2], [0, 0]])
    walked = interpolation.walk(points, 2, spherical=True)
    np.testing.assert_allclose(walked, interpolation.walk(points, 2, spherical=False), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "points: want images or latents"),
        (
            {"latents": from_array(np.zeros((1, 3), np.float32)), "steps": 1},
            "latents: want at least 2 points",
        ),
        (
            {"latents": from_array(np.zeros((2, 3), np.float32))},
            "steps: want 1 to 299 between 2 points, came 0",
        ),
        ({"latents": from_array(np.zeros((2, 3), np.float32)), "steps": 1, "path": 7}, "path: want one of"),
    ],
)
async def test_bad_walks_are_refused(stub, fields, message):
    """The field, what was wanted and what came."""
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refusal:
        await stub.Interpolate(pb.InterpolateRequest(**fields))
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample": {"count": 0}}, "sample.count: want 1 to"),
        ({"sample": {"count": 1}, "rows_per_response": 301}, "rows_per_response: want 1 to 300"),
        ({"sample": {"count": 1, "pool": "x"}}, "no pool 'x'"),
    ],
)
async def test_bad_streams_are_refused(stub, fields, message):
    """A stream is checked before its first response."""
    with pytest.raises(grpc.aio.AioRpcError, match=message):
        async for _ in stub.SampleStream(pb.SampleStreamRequest(**fields)):
            pass
