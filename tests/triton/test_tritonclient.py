"""NVIDIA's client of Open Inference Protocol, unchanged, against a server as it is installed."""

import asyncio
import importlib
import json
import queue
from functools import partial

import numpy as np
import onnxruntime
import pytest

from serving.latent.noise import standard_normal
from tests.support import toy
from tests.support.patience import SECONDS
from tests.triton.conftest import door_of

pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed; `make test` does that")
pytest.importorskip("tritonclient.http")

from tritonclient.utils import InferenceServerException

IMAGES = np.random.default_rng(1).random((5, *toy.IMAGE_SHAPE), np.float32)
LATENTS = np.random.default_rng(2).normal(size=(5, toy.LATENTS)).astype(np.float32)
PARTS = ["toy/encoder", "toy/decoder", "toy/sampler", "toy/scorer"]
KINDS = {"f": "FP32", "l": "INT64", "d": "FP64"}


@pytest.fixture(scope="module")
def graph(repository):
    """Runs a graph of the bundle, by ONNX Runtime and nothing else."""

    def run(name, **inputs):
        session = onnxruntime.InferenceSession(
            repository / f"toy/1/{name}.onnx", providers=["CPUExecutionProvider"]
        )
        return dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs), strict=True))

    return run


def given(module, name, rows, **options):
    tensor = module.InferInput(name, list(rows.shape), KINDS[rows.dtype.char])
    tensor.set_data_from_numpy(rows, **options)
    return tensor


def count(rows):
    return np.array([rows], np.int64)


def document(answer):
    """What is told of something, as a dict: tritonclient has messages over gRPC."""
    if isinstance(answer, dict | list):
        return answer
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(answer, preserving_proto_field_name=True)


def parameters_of(result):
    response = result.get_response()
    if isinstance(response, dict):
        return response["parameters"]
    return {
        name: getattr(one, one.WhichOneof("parameter_choice")) for name, one in response.parameters.items()
    }


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_live_and_ready(client):
    """A part that is not there, or not in that version, is not ready, and that is no error."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert all(client.is_model_ready(name) and client.is_model_ready(name, "1") for name in PARTS)
    assert not client.is_model_ready("toy/encoder", "2")
    assert not client.is_model_ready("toy/x")
    assert not client.is_model_ready("x/encoder")


def test_metadata(client):
    server = document(client.get_server_metadata())
    assert server["name"] == "vaeserve"
    extensions = {"binary_tensor_data", "parameters", "model_configuration", "statistics"}
    assert extensions <= set(server["extensions"])
    model = document(client.get_model_metadata("toy/encoder"))
    assert (model["name"], model["versions"], model["platform"]) == ("toy/encoder", ["1"], "vaeserve")
    assert [(one["name"], one["datatype"], [*map(int, one["shape"])]) for one in model["inputs"]] == [
        ("image", "FP32", [-1, 1, 4, 6])
    ]
    assert [one["name"] for one in model["outputs"]] == ["mean", "log_var"]


def test_configuration(client, door):
    config = document(client.get_model_config("toy/encoder", "1"))
    config = config["config"] if door.name == "grpc" else config
    assert (config["name"], config["max_batch_size"]) == ("toy/encoder", 300)
    assert "dynamic_batching" in config
    (image,) = config["input"]
    assert (image["name"], image["data_type"]) == ("image", "TYPE_FP32")
    assert [*map(int, image["dims"])] == [1, 4, 6]


def test_index(client):
    index = document(client.get_model_repository_index())
    models = index["models"] if isinstance(index, dict) else index
    assert [(one["name"], one["version"], one["state"]) for one in models] == [
        (name, "1", "READY") for name in PARTS
    ]


def test_statistics_count_what_was_asked(client, door):
    """Requests and rows; each duration that Triton tells of is there."""

    def told():
        (one,) = document(client.get_inference_statistics("toy/decoder", "1"))["model_stats"]
        answered = one["inference_stats"].get("success", {})
        return int(one.get("inference_count", 0)), int(answered.get("count", 0))

    rows, requests = told()
    client.infer("toy/decoder", [given(door.triton, "latent", LATENTS)])
    assert told() == (rows + 5, requests + 1)
    every = {one["name"]: one for one in document(client.get_inference_statistics())["model_stats"]}
    assert list(every) == PARTS
    assert {"queue", "compute_infer"} <= every["toy/decoder"]["inference_stats"].keys()


def test_integers_over_http_are_numbers(server):
    """Not texts, as they are in protobuf's JSON; and what is zero is there."""
    door = door_of(server, "http")
    with door.client() as client:
        assert client.get_model_metadata("toy/encoder")["inputs"][0]["shape"] == [-1, 1, 4, 6]
        assert client.get_model_config("toy/encoder")["input"][0]["dims"] == [1, 4, 6]
        (one,) = client.get_inference_statistics("toy/encoder")["model_stats"]
    assert type(one["inference_count"]) is type(one["inference_stats"]["success"]["ns"]) is int
    assert one["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}


def test_encoder_and_decoder(client, door, graph):
    """The numbers of the bundle's own graphs, and the request's identifier."""
    result = client.infer("toy/encoder", [given(door.triton, "image", IMAGES)], request_id="mine")
    encoded = graph("encoder", image=IMAGES)
    close(result.as_numpy("mean"), encoded["mean"])
    close(result.as_numpy("log_var"), encoded["log_var"])
    response = document(result.get_response())
    assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "toy/encoder", "1")
    result = client.infer("toy/decoder", [given(door.triton, "latent", LATENTS)], model_version="1")
    close(result.as_numpy("image"), graph("decoder", latent=LATENTS)["image"])


@pytest.mark.parametrize("seed", [7, str(2**64 - 1)])
def test_sampler(client, door, graph, seed):
    """The noise of the seed, through the bundle's decoder; a seed beyond 63 bits goes as a text."""
    asked = [given(door.triton, "count", count(4))]
    result = client.infer("toy/sampler", asked, parameters={"seed": seed, "first_row": 2})
    noise = standard_normal(int(seed), 2, 4, toy.LATENTS).astype(np.float32)
    np.testing.assert_array_equal(result.as_numpy("latent"), noise)
    close(result.as_numpy("image"), graph("decoder", latent=noise)["image"])
    assert parameters_of(result)["seed"] == int(seed)


def test_a_seed_that_the_server_drew_can_be_used_again(client, door):
    """Exactly, also by a client whose numbers are float64."""
    asked = [given(door.triton, "count", count(2))]
    first = client.infer("toy/sampler", asked)
    seed = parameters_of(first)["seed"]
    assert seed <= 2**53
    again = client.infer("toy/sampler", asked, parameters={"seed": seed})
    np.testing.assert_array_equal(again.as_numpy("image"), first.as_numpy("image"))


def test_sampler_of_a_pool_and_of_a_neighbourhood(client, door):
    """Each parameter of ours, in the kind that the client's language has for it."""
    asked = [given(door.triton, "count", count(3))]
    near = {"near": json.dumps(LATENTS[0].tolist()), "spread": "0.0", "seed": 1}
    found = client.infer("toy/sampler", asked, parameters=near).as_numpy("latent")
    close(found, np.tile(LATENTS[0], (3, 1)))
    pools = [client.infer("toy/sampler", asked, parameters={"pool": pool, "seed": 1}) for pool in toy.POOLS]
    assert not np.array_equal(*(one.as_numpy("latent") for one in pools))
    cold = client.infer("toy/sampler", asked, parameters={"temperature": "0"})
    assert not cold.as_numpy("latent").any()


def test_scorer(client, door, graph):
    """The score graph of the bundle on the noise of the seed: bound and k-sample likelihood in nats."""
    samples = 20
    result = client.infer(
        "toy/scorer", [given(door.triton, "image", IMAGES)], parameters={"seed": 3, "samples": samples}
    )
    noise = standard_normal(3, 0, len(IMAGES) * samples, toy.LATENTS).astype(np.float32)
    scores = graph("score", image=IMAGES, noise=noise.reshape(len(IMAGES), samples, toy.LATENTS))
    close(result.as_numpy("distortion"), scores["distortion"])
    close(result.as_numpy("rate"), scores["rate"])
    close(result.as_numpy("nelbo"), scores["distortion"] + scores["rate"])
    nll = np.log(samples) - np.logaddexp.reduce(scores["log_weight"].astype(np.float64), axis=1)
    close(result.as_numpy("nll"), nll)


def test_chosen_outputs(client, door):
    result = client.infer(
        "toy/encoder",
        [given(door.triton, "image", IMAGES)],
        outputs=[door.triton.InferRequestedOutput("log_var")],
    )
    assert result.as_numpy("mean") is None
    assert result.as_numpy("log_var").shape == (5, toy.LATENTS)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_binary_tensors_give_the_same(server, binary_in, binary_out):
    """Over HTTP an array may be numbers in the JSON or bytes behind it, either way, to the last bit."""
    door = door_of(server, "http")
    outputs = [door.triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("mean", "log_var")]
    with door.client() as client:
        inputs = [given(door.triton, "image", IMAGES, binary_data=binary_in)]
        found = client.infer("toy/encoder", inputs, outputs=outputs)
        plain = client.infer("toy/encoder", [given(door.triton, "image", IMAGES)])
    assert ("data" in found.get_output("mean")) == (not binary_out)
    for name in ("mean", "log_var"):
        np.testing.assert_array_equal(found.as_numpy(name), plain.as_numpy(name))


NOT_FOUND, INVALID = ("NOT_FOUND", "404"), ("INVALID_ARGUMENT", "400")
FAULTS = {
    "unknown model": ({"model_name": "x/encoder"}, NOT_FOUND, "no model 'x'"),
    "unknown part": ({"model_name": "toy/x"}, NOT_FOUND, "no part 'x' of toy; want toy/encoder"),
    "unknown version": ({"model_version": "2"}, NOT_FOUND, "version 2"),
    "no version": ({"model_version": "x"}, INVALID, "model_version: want a positive integer"),
    "shape": ({"rows": IMAGES[0]}, INVALID, "inputs[image].shape: want [rows, 1, 4, 6], came [1, 4, 6]"),
    "type": ({"rows": IMAGES.astype(np.float64)}, INVALID, "inputs[image].datatype: want FP32, came 'FP64'"),
    "name": ({"name": "x"}, INVALID, "inputs: want image, came 'x'"),
    "range": ({"rows": IMAGES * 255}, INVALID, "want values from 0 to 1, came 5.05"),
    "NaN": ({"rows": IMAGES * np.float32("nan")}, INVALID, "want finite values, came NaN or infinity"),
    "rows": ({"rows": np.zeros((301, 1, 4, 6), np.float32)}, INVALID, "want 1 to 300 rows, came 301"),
    "parameter": ({"parameters": {"seed": 1}}, INVALID, "parameters: want some of none, came 'seed'"),
    "priority": ({"priority": 1}, INVALID, "parameters: want some of none, came 'priority'"),
    "output": ({"output": ("x", {})}, INVALID, "outputs: want some of mean, log_var, came 'x'"),
    "classes": ({"output": ("mean", {"class_count": 3})}, INVALID, "classification is not offered"),
    "shared memory": ({"shared": True}, INVALID, "shared memory is not offered"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_errors(client, door, fault):
    """The client's own exception, with the code and words of ours."""
    fields, codes, words = FAULTS[fault]
    fields = {"model_name": "toy/encoder", "name": "image", "rows": IMAGES, **fields}
    tensor = given(door.triton, fields.pop("name"), fields.pop("rows"))
    if fields.pop("shared", False):
        tensor.set_shared_memory("region", IMAGES.nbytes)
    if output := fields.pop("output", None):
        fields["outputs"] = [door.triton.InferRequestedOutput(output[0], **output[1])]
    with pytest.raises(InferenceServerException) as caught:
        client.infer(inputs=[tensor], **fields)
    assert caught.value.status().removeprefix("StatusCode.") == codes[door.name == "http"]
    assert words in caught.value.message()


def test_what_is_not_offered(client):
    """Models are loaded from the repository, not by callers; who asks is told so by the client's own exception."""
    for call in (
        partial(client.load_model, "toy/encoder"),
        partial(client.unload_model, "toy/encoder"),
        client.get_system_shared_memory_status,
        client.get_trace_settings,
    ):
        with pytest.raises(InferenceServerException):
            call()


def test_async_infer(client, door, graph):
    """Many at once by the client's own means: callbacks over gRPC, greenlets over HTTP."""
    wanted = graph("encoder", image=IMAGES)["mean"]
    asked = [given(door.triton, "image", IMAGES)]
    if door.name == "http":
        for request in [client.async_infer("toy/encoder", asked) for _ in range(20)]:
            close(request.get_result(timeout=SECONDS).as_numpy("mean"), wanted)
        return
    came: queue.Queue = queue.Queue()
    for _ in range(20):
        client.async_infer("toy/encoder", asked, callback=lambda result, error: came.put((result, error)))
    for _ in range(20):
        result, error = came.get(timeout=SECONDS)
        assert error is None
        close(result.as_numpy("mean"), wanted)


async def test_asyncio(door, graph):
    """The client for asyncio, several requests at once, and an error among them."""
    aio = importlib.import_module(f"{door.triton.__name__}.aio")
    async with aio.InferenceServerClient(door.address) as client:
        assert await client.is_model_ready("toy/encoder")
        asked = [given(door.triton, "image", IMAGES)]
        found = await asyncio.gather(
            *(client.infer("toy/encoder", asked) for _ in range(10)),
            client.infer("toy/x", asked),
            return_exceptions=True,
        )
    assert isinstance(found.pop(), InferenceServerException)
    wanted = graph("encoder", image=IMAGES)["mean"]
    for result in found:
        close(result.as_numpy("mean"), wanted)


def test_a_stream(server, graph):
    """Over gRPC: answers in the order of the requests; one that fails is told of by its id, and the rest go on."""
    door = door_of(server, "grpc")
    came: queue.Queue = queue.Queue()
    with door.client() as client:
        client.start_stream(callback=lambda result, error: came.put((result, error)))
        asked = [given(door.triton, "image", IMAGES)]
        for identifier, name in enumerate(("toy/encoder", "toy/x", "toy/encoder")):
            options = {"request_id": str(identifier), "enable_empty_final_response": True}
            client.async_stream_infer(name, asked, **options)
        answers = [came.get(timeout=SECONDS) for _ in range(3)]
        client.stop_stream()
    results, errors = zip(*answers, strict=True)
    assert "no part 'x' of toy" in errors[1].message()
    for number in (0, 2):
        assert errors[number] is None
        close(results[number].as_numpy("mean"), graph("encoder", image=IMAGES)["mean"])
        assert results[number].get_response().id == str(number)
        assert parameters_of(results[number])["triton_final_response"] is True


def test_nothing_went_wrong_inside(server):
    """After all of the above the server is there and stops as it should."""
    assert server.process.poll() is None
    assert server.terminate() == 0
