"""Open Inference Protocol over gRPC, as any client of it speaks it: raw messages on a real socket."""

import json

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from serving.client import AsyncClient
from serving.oip.schema import message, request_of
from serving.server import running
from tests.support import toy
from tests.support.patience import SECONDS

PATH = "/inference.GRPCInferenceService/"
IMAGES = np.random.default_rng(1).random((5, *toy.IMAGE_SHAPE), np.float32)
LATENTS = np.random.default_rng(2).normal(size=(5, toy.LATENTS)).astype(np.float32)


@pytest.fixture
def repository(tmp_path):
    toy.make_bundle(tmp_path, "toy", with_score=True)
    toy.make_bundle(tmp_path, "plain")
    return tmp_path


@pytest.fixture
async def channel(server):
    async with grpc.aio.insecure_channel(server.grpc_address) as opened:
        yield opened


async def ask(channel, method, raw=None, **fields):
    """The answer of a method; ``raw`` in place of a request made of the fields."""
    body = raw if raw is not None else request_of(method)(**fields).SerializeToString()
    answer = await channel.unary_unary(PATH + method)(body, timeout=SECONDS)
    return message(f"{method}Response").FromString(answer)


async def refusal(channel, **fields):
    """Code and words of a ModelInfer that is refused, which has details as every error of ours."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(channel, "ModelInfer", **fields)
    (details,) = [v for key, v in caught.value.trailing_metadata() if key == "grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert info.domain == "vaeserve"
    return caught.value.code().name, caught.value.details()


def tensor(name, rows, datatype="FP32"):
    return {"name": name, "datatype": datatype, "shape": rows.shape}


def raw_request(model, rows, name, datatype="FP32", **fields):
    return {
        "model_name": model,
        "inputs": [tensor(name, rows, datatype)],
        "raw_input_contents": [rows.tobytes()],
        **fields,
    }


def arrays(response):
    """Outputs by name; every one of them is raw, which is all that tritonclient reads."""
    return {
        output.name: np.frombuffer(raw, "<f4").reshape(tuple(output.shape))
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def count(rows):
    return np.array([rows], np.int64)


def given(**parameters):
    kinds = {int: "uint64_param", float: "double_param", str: "string_param"}
    return {name: {kinds[type(value)]: value} for name, value in parameters.items()}


async def test_a_model_is_its_parts(channel):
    """Each part is a model with tensors of its own; a scorer is there where the bundle has a score graph."""
    index = await ask(channel, "RepositoryIndex")
    assert [(one.name, one.version, one.state) for one in index.models] == [
        *((f"plain/{part}", "1", "READY") for part in ("encoder", "decoder", "sampler")),
        *((f"toy/{part}", "1", "READY") for part in ("encoder", "decoder", "sampler", "scorer")),
    ]
    found = await ask(channel, "ModelMetadata", name="toy/encoder")
    assert [(t.name, t.datatype, [*t.shape]) for t in found.inputs] == [("image", "FP32", [-1, 1, 4, 6])]
    assert [(t.name, [*t.shape]) for t in found.outputs] == [("mean", [-1, 3]), ("log_var", [-1, 3])]
    config = (await ask(channel, "ModelConfig", name="toy/encoder")).config
    assert (config.max_batch_size, [*config.input[0].dims]) == (300, [1, 4, 6])  # without the rows
    config = (await ask(channel, "ModelConfig", name="toy/sampler")).config
    assert (config.max_batch_size, [*config.output[0].dims]) == (0, [-1, 1, 4, 6])
    assert (await ask(channel, "ServerLive")).live
    assert (await ask(channel, "ServerReady")).ready
    assert (await ask(channel, "ServerMetadata")).name == "vaeserve"


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [("toy/encoder", "", True), ("toy/encoder", "1", True), ("toy/encoder", "2", False), ("toy/x", "", False),
     ("x/encoder", "", False), ("", "", False)],
)  # fmt: skip
async def test_what_is_ready(channel, name, version, ready):
    """Only a part of a model in service, in the version that is asked for."""
    assert (await ask(channel, "ModelReady", name=name, version=version)).ready == ready


async def test_answers_are_those_of_our_own_api(channel, server):
    """The same rows through the same graphs: no door computes anything itself."""
    async with AsyncClient(server.grpc_address) as client:
        encoded = arrays(await ask(channel, "ModelInfer", **raw_request("toy/encoder", IMAGES, "image")))
        np.testing.assert_allclose(encoded["mean"], toy.encode(IMAGES)[0], atol=1e-6)
        ours = await client.encode("toy", IMAGES)
        np.testing.assert_array_equal(encoded["mean"], ours.mean)
        np.testing.assert_array_equal(encoded["log_var"], ours.log_var)
        decoded = arrays(await ask(channel, "ModelInfer", **raw_request("toy/decoder", LATENTS, "latent")))
        np.testing.assert_allclose(decoded["image"], toy.decode(LATENTS), atol=1e-6)
        scored = arrays(
            await ask(
                channel,
                "ModelInfer",
                **raw_request("toy/scorer", IMAGES, "image", parameters=given(seed=3, samples=20)),
            )
        )
        theirs = await client.score("toy", IMAGES, samples=20, seed=3)
        for name in ("nelbo", "distortion", "rate", "nll"):
            np.testing.assert_array_equal(scored[name], getattr(theirs, name))


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({"seed": 2**63 + 1}, {"seed": 2**63 + 1}),
        ({"seed": "9"}, {"seed": 9}),
        ({"seed": 5, "pool": "one"}, {"seed": 5, "pool": "one"}),
        ({"seed": 5, "temperature": 0.5}, {"seed": 5, "temperature": 0.5}),
    ],
)
async def test_a_sampler_draws_what_sample_draws(channel, server, parameters, options):
    """Seed, pool and temperature are parameters; the seed that was used comes back as one."""
    request = raw_request("toy/sampler", count(7), "count", "INT64", parameters=given(**parameters))
    answer = await ask(channel, "ModelInfer", **request, id="mine")
    async with AsyncClient(server.grpc_address) as client:
        ours = await client.sample("toy", 7, latents=True, **options)
    np.testing.assert_array_equal(arrays(answer)["latent"], ours.latents)
    np.testing.assert_array_equal(arrays(answer)["image"], ours.images)
    assert answer.parameters["seed"].uint64_param == options["seed"]
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", "toy/sampler", "1")


async def test_a_sampler_stays_near_to_a_latent(channel):
    near = LATENTS[0].tolist()
    request = raw_request("toy/sampler", count(3), "count", "INT64")
    answer = await ask(
        channel, "ModelInfer", **request, parameters=given(near=json.dumps(near), spread=0.0, seed=1)
    )
    np.testing.assert_allclose(arrays(answer)["latent"], np.tile(LATENTS[0], (3, 1)), atol=1e-6)


async def test_typed_contents_and_chosen_outputs(channel):
    """Numbers as protobuf has them in place of raw bytes; of the outputs those that are asked for."""
    inputs = [{**tensor("image", IMAGES), "contents": {"fp32_contents": IMAGES.ravel().tolist()}}]
    answer = await ask(
        channel, "ModelInfer", model_name="toy/encoder", inputs=inputs, outputs=[{"name": "log_var"}]
    )
    assert list(arrays(answer)) == ["log_var"]
    inputs = [{**tensor("count", count(2), "INT64"), "contents": {"int64_contents": [2]}}]
    answer = await ask(channel, "ModelInfer", model_name="toy/sampler", inputs=inputs)
    assert arrays(answer)["image"].shape == (2, *toy.IMAGE_SHAPE)


def bad(model="toy/encoder", rows=IMAGES, name="image", datatype="FP32", **changes):
    return {**raw_request(model, rows, name, datatype), **changes}


BAD = {
    "no such model": (bad("x/encoder"), "NOT_FOUND", "no model 'x'; in service: plain version 1"),
    "no such part": (bad("toy/x"), "NOT_FOUND", "no part 'x' of toy; want toy/encoder"),
    "no part": (bad("toy"), "NOT_FOUND", "want a model name"),
    "no scorer": (bad("plain/scorer"), "NOT_FOUND", "no part 'scorer' of plain"),
    "version": (bad(model_version="x"), "INVALID_ARGUMENT", "model_version: want a positive integer"),
    "no input": (bad(inputs=[]), "INVALID_ARGUMENT", "inputs: want image, came 0 tensors"),
    "other input": (bad(name="x"), "INVALID_ARGUMENT", "inputs: want image, came 'x'"),
    "type": (bad(datatype="FP64"), "INVALID_ARGUMENT", "inputs[image].datatype: want FP32, came 'FP64'"),
    "axes": (bad(rows=IMAGES[0]), "INVALID_ARGUMENT", "inputs[image].shape: want [rows, 1, 4, 6]"),
    "bytes": (bad(raw_input_contents=[b"123"]), "INVALID_ARGUMENT", "want 480 bytes for shape"),
    "range": (bad(rows=IMAGES * 255), "INVALID_ARGUMENT", "want values from 0 to 1"),
    "NaN": (bad(rows=IMAGES * np.float32("nan")), "INVALID_ARGUMENT", "want finite values"),
    "raw twice": (bad(raw_input_contents=[b"", b""]), "INVALID_ARGUMENT", "want one for each of the 1 inputs"),
    "both forms": (
        bad(inputs=[{**tensor("image", IMAGES), "contents": {"fp32_contents": [1]}}]),
        "INVALID_ARGUMENT",
        "want contents or raw_input_contents, came both",
    ),
    "other contents": (
        bad(
            inputs=[{**tensor("image", IMAGES), "contents": {"fp64_contents": [1]}}], raw_input_contents=[]
        ),
        "INVALID_ARGUMENT",
        "want fp32_contents, came fp64_contents",
    ),
    "shared memory": (
        bad(inputs=[{**tensor("image", IMAGES), "parameters": given(shared_memory_region="x")}]),
        "INVALID_ARGUMENT",
        "shared memory is not offered",
    ),
    "output": (bad(outputs=[{"name": "x"}]), "INVALID_ARGUMENT", "want some of mean, log_var, came 'x'"),
    "parameter": (bad(parameters=given(seed=1)), "INVALID_ARGUMENT", "want some of none, came 'seed'"),
    "count": (
        bad("toy/sampler", count(301), "count", "INT64"), "INVALID_ARGUMENT", "want 1 to 300 rows, came 301",
    ),
    "output twice": (bad(outputs=[{"name": "mean"}] * 2), "INVALID_ARGUMENT", "outputs: want each of them once"),
    "counts": (
        bad("toy/sampler", np.array([1, 2]), "count", "INT64"), "INVALID_ARGUMENT", "inputs[count].shape: want [1], came [2]",
    ),
    "seed": (
        bad("toy/sampler", count(1), "count", "INT64", parameters=given(seed="-1")),
        "INVALID_ARGUMENT",
        "parameters[seed]: want an integer from 0 to 2^64 - 1",
    ),
    "pool": (
        bad("toy/sampler", count(1), "count", "INT64", parameters=given(pool="x")), "NOT_FOUND", "no pool 'x'",
    ),
    "temperature": (
        bad("toy/sampler", count(1), "count", "INT64", parameters=given(temperature=float("nan"))),
        "INVALID_ARGUMENT",
        "parameters[temperature]: want a finite number",
    ),
    "near and pool": (
        bad("toy/sampler", count(1), "count", "INT64", parameters=given(pool="one", near="[0,0,0]", spread=1.0)),
        "INVALID_ARGUMENT",
        "want pool or near, came both",
    ),
    "near alone": (
        bad("toy/sampler", count(1), "count", "INT64", parameters=given(near="[0,0,0]")),
        "INVALID_ARGUMENT",
        "want near and spread together",
    ),
    **{
        f"near {near[:9]}": (
            bad("toy/sampler", count(1), "count", "INT64", parameters=given(near=near, spread=1.0)),
            "INVALID_ARGUMENT",
            "parameters[near]: want a JSON array of 3 numbers",
        )
        for near in ("", "[0,0]", "[0,0,true]", "[0,0,NaN]", "[0,0,1e39]", f"[0,0,{'9' * 5000}]", "[" * 90_000, "x" * (1 << 17))
    },
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
async def test_bad_requests_are_told_what_was_wanted(channel, fault):
    """With the field, what was wanted and what came; words of ours, never Python's."""
    fields, code, words = BAD[fault]
    came, details = await refusal(channel, **fields)
    assert came == code
    assert words in details


async def test_a_stream_answers_each_of_its_messages(channel):
    """In their order; one that cannot be answered is told of, and the next is answered."""
    good, unknown = bad(), bad("toy/x")
    call = channel.stream_stream(PATH + "ModelStreamInfer")(timeout=SECONDS)
    read = []
    for fields in (good, unknown, good):
        await call.write(request_of("ModelInfer")(**fields).SerializeToString())
        read.append(message("ModelStreamInferResponse").FromString(await call.read()))
    await call.done_writing()
    assert await call.code() == grpc.StatusCode.OK
    assert [bool(one.error_message) for one in read] == [False, True, False]
    np.testing.assert_allclose(arrays(read[2].infer_response)["mean"], toy.encode(IMAGES)[0], atol=1e-6)


async def test_a_stream_is_one_call(settings):
    """Its messages are parts of it, and are told apart by their ids; it ends with the server, told why."""
    async with running(settings.model_copy(update={"max_calls": 1})) as server:
        channel = grpc.aio.insecure_channel(server.grpc_address)
        call = channel.stream_stream(PATH + "ModelStreamInfer")(timeout=SECONDS)
        for fields in (bad(id="a"), bad("toy/x", id="b")):
            await call.write(request_of("ModelInfer")(**fields).SerializeToString())
            read = message("ModelStreamInferResponse").FromString(await call.read())
            assert read.infer_response.id == fields["id"]
            assert bool(read.error_message) == (fields["id"] == "b")
    assert await call.code() == grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_what_tritons_clients_send_along(channel):
    """Numbers as strings, and a flag with each request, which is answered."""
    flag = {"triton_enable_empty_final_response": {"bool_param": True}}
    parameters = {**given(temperature="0.0", seed="5"), **flag}
    request = raw_request("toy/sampler", count(2), "count", "INT64", parameters=parameters)
    answer = await ask(channel, "ModelInfer", **request)
    assert not arrays(answer)["latent"].any()
    assert answer.parameters["triton_final_response"].bool_param


async def test_what_is_not_offered_is_unimplemented(channel):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(PATH + "SystemSharedMemoryRegister")(b"", timeout=SECONDS)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_calls_are_counted_and_limited_as_all_others(settings, tmp_path):
    """By method and code, of the model and not of its part; without the token there is no answer."""
    token = tmp_path / "token"
    token.write_text("secret")
    async with running(settings.model_copy(update={"auth_token_file": token})) as server:
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            assert (await refusal(channel, **bad()))[0] == "UNAUTHENTICATED"
            call = channel.unary_unary(PATH + "ModelInfer")
            body = request_of("ModelInfer")(**bad()).SerializeToString()
            await call(body, metadata=[("authorization", "Bearer secret")], timeout=SECONDS)
        counted = server.metrics.registry.get_sample_value(
            "vae_requests_total", {"model": "toy", "method": "ModelInfer", "transport": "grpc", "code": "OK"}
        )
        assert counted == 1


async def test_statistics_count_rows_and_batches(channel):
    await ask(channel, "ModelInfer", **bad())
    found = await ask(channel, "ModelStatistics", name="toy/encoder")
    (one,) = found.model_stats
    assert (one.inference_count, one.execution_count) == (5, 1)
    assert (one.inference_stats.success.count, one.inference_stats.fail.count) == (1, 0)
    assert one.inference_stats.success.ns > 0
    for part in ("queue", "compute_input", "compute_infer", "compute_output"):  # perf_analyzer looks at each
        assert getattr(one.inference_stats, part).count == 1
    await refusal(channel, **bad(rows=IMAGES * 255))
    (one,) = (await ask(channel, "ModelStatistics", name="toy/encoder")).model_stats
    assert (one.inference_count, one.inference_stats.fail.count) == (5, 1)
    assert len((await ask(channel, "ModelStatistics")).model_stats) == 7
