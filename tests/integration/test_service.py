"""The API on a real socket, against results that can be computed by hand."""

import asyncio

import grpc
import numpy as np
import pytest

from serving.latent.noise import standard_normal
from serving.pb.vae.v1 import models_pb2, tensors_pb2
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.wire import images
from serving.wire.tensors import from_array
from tests.support import toy

IMAGES = np.random.default_rng(3).random((5, *toy.IMAGE_SHAPE), np.float32)


def array(tensor):
    dtype = np.uint8 if tensor.dtype == tensors_pb2.DATA_TYPE_UINT8 else np.float32
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape))


def of_images(rows):
    return tensors_pb2.Images(tensor=from_array(rows))


async def test_encode_gives_the_posterior(stub, server):
    """Mean and log-variance are the encoder's; the response says which model answered."""
    answer = await stub.Encode(pb.EncodeRequest(images=of_images(IMAGES)))
    mean, log_var = toy.encode(IMAGES)
    np.testing.assert_allclose(array(answer.mean), mean, atol=1e-6)
    np.testing.assert_allclose(array(answer.log_var), log_var, atol=1e-6)
    model = server.repository.models[0]
    assert (answer.model.name, answer.model.version, answer.model.digest) == ("toy", 1, model.digest)
    assert not answer.HasField("latents")


async def test_encode_extras(stub):
    """Seeded posterior samples and pool probabilities come when asked for."""
    request = pb.EncodeRequest(
        images=of_images(IMAGES), include_latents=True, seed=9, include_pool_probabilities=True
    )
    answer = await stub.Encode(request)
    mean, log_var = toy.encode(IMAGES)
    wanted = mean + np.exp(log_var / 2) * standard_normal(9, 0, 5, toy.LATENTS)
    np.testing.assert_allclose(array(answer.latents), wanted, atol=1e-5)
    assert answer.seed == 9
    assert list(answer.pools) == list(toy.POOLS)
    np.testing.assert_allclose(array(answer.pool_probabilities).sum(axis=1), 1, rtol=1e-5)


async def test_decode_and_reconstruct(stub):
    """Decode gives the mean image of latents; Reconstruct is Encode then Decode."""
    latents = np.random.default_rng(0).normal(size=(4, toy.LATENTS)).astype(np.float32)
    answer = await stub.Decode(pb.DecodeRequest(latents=from_array(latents)))
    np.testing.assert_allclose(array(answer.images.tensor), toy.decode(latents), atol=1e-6)
    again = await stub.Reconstruct(pb.ReconstructRequest(images=of_images(IMAGES), include_latents=True))
    mean, _ = toy.encode(IMAGES)
    np.testing.assert_allclose(array(again.images.tensor), toy.decode(mean), atol=1e-6)
    np.testing.assert_allclose(array(again.latents), mean, atol=1e-6)


async def test_images_in_all_formats(stub):
    """float32, uint8 and PNG carry the same pixels, in requests and in responses."""
    pixels = images.to_uint8(IMAGES, (0, 1))
    sent = [
        of_images(images.to_float32(pixels, (0, 1))),
        tensors_pb2.Images(tensor=from_array(pixels)),
        tensors_pb2.Images(png=tensors_pb2.PngImages(files=images.to_png(pixels))),
    ]
    means = [array((await stub.Encode(pb.EncodeRequest(images=form))).mean) for form in sent]
    assert np.array_equal(means[0], means[1])
    assert np.array_equal(means[0], means[2])

    def sample(form):
        return stub.Sample(pb.SampleRequest(count=3, seed=1, image_format=form))

    floats = array((await sample(tensors_pb2.IMAGE_FORMAT_FLOAT32)).images.tensor)
    small = array((await sample(tensors_pb2.IMAGE_FORMAT_UINT8)).images.tensor)
    files = (await sample(tensors_pb2.IMAGE_FORMAT_PNG)).images.png.files
    assert np.array_equal(images.to_uint8(floats, (0, 1)), small)
    assert np.array_equal(images.from_png(files, toy.IMAGE_SHAPE), small)


async def test_sources_of_samples(stub):
    """Prior, pool and neighbourhood give exactly the latents that their definitions say."""
    noise = standard_normal(5, 0, 4, toy.LATENTS)

    async def latents(**options):
        answer = await stub.Sample(pb.SampleRequest(count=4, seed=5, include_latents=True, **options))
        np.testing.assert_allclose(array(answer.images.tensor), toy.decode(array(answer.latents)), atol=1e-6)
        return array(answer.latents)

    assert np.array_equal(await latents(), noise.astype(np.float32))
    assert np.array_equal(await latents(temperature=0.5), (0.5 * noise).astype(np.float32))
    from_pool = await latents(pool="one", temperature=0.0)
    assert np.array_equal(from_pool, np.tile(np.float32([-3, 0, 0]), (4, 1)))
    centre = np.float32([[1, 2, 3]])
    near = pb.Neighbourhood(latent=from_array(centre), spread=0.25)
    np.testing.assert_allclose(await latents(neighbourhood=near), centre + 0.25 * noise, rtol=1e-6)
    mean, _ = toy.encode(IMAGES[:1])
    near = pb.Neighbourhood(image=of_images(IMAGES[:1]), spread=0.0)
    np.testing.assert_allclose(await latents(neighbourhood=near), np.tile(mean, (4, 1)), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"pool": "zero"}, {"temperature": 0.7}], ids=str)
async def test_a_sample_is_the_same_alone_and_in_company(stub, options):
    """Alone or amid 64 concurrent others: latents bit for bit, images to 1e-5."""
    request = pb.SampleRequest(count=7, seed=2**64 - 1, include_latents=True, **options)
    alone = await stub.Sample(request)
    others = [pb.SampleRequest(count=1 + i % 90, seed=i) for i in range(64)]
    calls = [stub.Sample(other) for other in others[:32]]
    among = stub.Sample(request)
    calls += [stub.Sample(other) for other in others[32:]]
    company = await among
    await asyncio.gather(*calls)
    assert company.latents == alone.latents
    np.testing.assert_allclose(array(company.images.tensor), array(alone.images.tensor), atol=1e-5)


async def test_a_job_can_be_split_by_rows(stub):
    """first_row continues a seed: two halves are the whole; a drawn seed can be used again."""
    whole = await stub.Sample(pb.SampleRequest(count=200, include_latents=True))
    parts = [
        await stub.Sample(pb.SampleRequest(count=100, first_row=first, seed=whole.seed, include_latents=True))
        for first in (0, 100)
    ]
    assert np.array_equal(array(whole.latents), np.concatenate([array(part.latents) for part in parts]))
    other = await stub.Sample(pb.SampleRequest(count=1))
    assert other.seed != whole.seed


async def test_models_describe_themselves(stub):
    """A client learns shapes, pools, metrics and limits without any documentation."""
    (listed,) = (await stub.ListModels(pb.ListModelsRequest())).models
    asked = (await stub.GetModel(pb.GetModelRequest(model=models_pb2.ModelRef(name="toy", version=1)))).model
    assert listed == asked
    assert (asked.image.channels, asked.image.height, asked.image.width) == toy.IMAGE_SHAPE
    assert [pool.name for pool in asked.pools] == [*toy.POOLS, "aggregate"]
    assert (asked.metrics[0].name, asked.metrics[0].value) == ("nelbo", 1.5)
    assert (asked.max_rows, list(asked.latent_shape)) == (300, [toy.LATENTS])


LATENT = from_array(np.zeros((1, toy.LATENTS), np.float32))
BAD = {
    "unknown model": ("Sample", {"model": {"name": "nope"}, "count": 1}, "NOT_FOUND", "no model 'nope'"),
    "unknown version": ("Sample", {"model": {"version": 9}, "count": 1}, "NOT_FOUND", "no version 9"),
    "unknown pool": ("Sample", {"pool": "x", "count": 1}, "NOT_FOUND", "no pool 'x' in toy; there are: zero"),
    "count 0": ("Sample", {"count": 0}, "INVALID_ARGUMENT", "count: want 1 to 300 rows, came 0"),
    "count too large": ("Sample", {"count": 301}, "INVALID_ARGUMENT", "count: want 1 to 300 rows, came 301"),
    "negative first row": ("Sample", {"count": 1, "first_row": -1}, "INVALID_ARGUMENT", "first_row: want 0"),
    "negative temperature": (
        "Sample", {"count": 1, "temperature": -1}, "INVALID_ARGUMENT", "temperature: want a finite number",
    ),
    "NaN temperature": ("Sample", {"count": 1, "temperature": float("nan")}, "INVALID_ARGUMENT", "came nan"),
    "overflow": ("Sample", {"count": 9, "temperature": 3e38}, "INVALID_ARGUMENT", "exceed float32"),
    "unknown enum": ("Sample", {"count": 1, "image_format": 9}, "INVALID_ARGUMENT", "image_format: want one of"),
    "no centre": ("Sample", {"count": 1, "neighbourhood": {}}, "INVALID_ARGUMENT", "image or a latent"),
    "negative spread": (
        "Sample", {"count": 1, "neighbourhood": {"latent": LATENT, "spread": -1}}, "INVALID_ARGUMENT", "spread",
    ),
    "no images": ("Encode", {}, "INVALID_ARGUMENT", "images: want a tensor or PNG files"),
    "wrong latents": (
        "Decode",
        {"latents": from_array(np.zeros((1, 7), np.float32))},
        "INVALID_ARGUMENT",
        r"latents.shape: want \[rows, 3\], came \[1, 7\]",
    ),
    "latents as uint8": (
        "Decode", {"latents": from_array(np.zeros((1, 3), np.uint8))}, "INVALID_ARGUMENT", "DATA_TYPE_FLOAT32",
    ),
    "infinite latents": (
        "Decode", {"latents": from_array(np.full((1, 3), np.inf, np.float32))}, "INVALID_ARGUMENT", "finite",
    ),
    "undecodable PNG": (
        "Reconstruct", {"images": {"png": {"files": [b"x"]}}}, "INVALID_ARGUMENT", "images.png.files",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("method", "fields", "code", "message"), BAD.values(), ids=BAD)
async def test_bad_input_is_the_callers_fault_alone(stub, method, fields, code, message):
    """The right code and a message that says what to mend, while a neighbour's request succeeds."""
    neighbour = stub.Sample(pb.SampleRequest(count=50, seed=1))
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refusal:
        await getattr(stub, method)(getattr(pb, f"{method}Request")(**fields))
    assert refusal.value.code().name == code
    assert refusal.value.trailing_metadata()["grpc-status-details-bin"]
    assert len(array((await neighbour).images.tensor)) == 50


async def test_bytes_that_are_no_message_are_refused(server):
    """A body that does not parse is INVALID_ARGUMENT, not an internal error."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/vae.v1.VaeService/Sample")
        with pytest.raises(grpc.aio.AioRpcError, match="want a protobuf message") as refusal:
            await call(b"\xff\xff\xff")
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_over_the_limit_is_refused(repository):
    """A message beyond max_message_mib is refused by size; the connection goes on."""
    from serving.server import running
    from serving.settings import Settings

    limited = Settings(
        repository=repository,
        address="127.0.0.1:0",
        http_address="",
        metrics_address="127.0.0.1:0",
        max_message_mib=1,
    )
    async with running(limited) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.unary_unary("/vae.v1.VaeService/Encode")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await call(bytes(2 << 20))
        assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary_unary("/vae.v1.VaeService/ListModels")(b"")
