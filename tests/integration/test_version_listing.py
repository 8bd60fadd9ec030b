"""What callers are told of every version: by our API, by Open Inference Protocol, by the client and its table."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.client import AsyncClient, Client, VaeError
from serving.client.__main__ import main
from serving.oip.schema import message, request_of
from serving.pb.vae.v1 import models_pb2, vae_service_pb2_grpc
from serving.pb.vae.v1 import vae_service_pb2 as pb
from tests.support import patience, toy

LATENTS = np.random.default_rng(2).normal(size=(5, toy.LATENTS)).astype(np.float32)
REFUSED = "decoder.onnx: want "


@pytest.fixture
def repository(tmp_path):
    """Of `toy` versions 1 to 3 and a damaged 4, of which two are to be served; of `scoring` one."""
    root = tmp_path / "models"
    for version in (1, 2, 3):
        toy.make_bundle(root, version=version, seed=version)
    (toy.make_bundle(root, version=4).root / "decoder.onnx").write_bytes(b"x")
    toy.make_bundle(root, name="scoring", with_score=True)
    return root


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"reload_s": 0.0, "versions": "toy=latest:2,all"})


KNOWN = [
    ("scoring", 1, "READY", True),
    ("toy", 4, "REFUSED", False),
    ("toy", 3, "READY", True),
    ("toy", 2, "READY", False),
    ("toy", 1, "AVAILABLE", False),
]


def told(versions):
    names = models_pb2.VersionState.Name
    return [
        (v.name, v.version, names(v.state).removeprefix("VERSION_STATE_"), v.is_default) for v in versions
    ]


async def test_every_version_is_listed(stub, repository):
    """With state and reason; `models` has each version in service, the one that answers by default first."""
    listed = await stub.ListModels(pb.ListModelsRequest())
    assert told(listed.versions) == KNOWN
    assert [(m.model.name, m.model.version) for m in listed.models] == [
        ("scoring", 1),
        ("toy", 3),
        ("toy", 2),
    ]
    by_number = {version.version: version for version in listed.versions if version.name == "toy"}
    assert by_number[4].reason.startswith(REFUSED)
    assert str(repository) not in str(listed)
    assert [bool(by_number[v].digest) for v in (1, 2, 3, 4)] == [False, True, True, False]
    assert [by_number[v].memory_bytes > 0 for v in (1, 2, 3, 4)] == [False, True, True, False]
    assert [by_number[v].reason == "" for v in (1, 2, 3, 4)] == [False, True, True, False]


async def test_one_model_is_described_with_its_versions(stub):
    """Whichever of them is asked for."""
    for version, comes in ((0, 3), (2, 2)):
        described = await stub.GetModel(pb.GetModelRequest(model={"name": "toy", "version": version}))
        assert described.model.model.version == comes
        assert told(described.versions) == KNOWN[1:]


async def test_health_is_of_models_not_of_versions(server, repository):
    """A model is SERVING while any version of it is."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for kept in (True, False):
            if not kept:
                (repository / "toy").rename(repository.parent / "away")
                await server.repository.refresh()
            status = (await check(health_pb2.HealthCheckRequest(service="toy"))).status
            assert (status == health_pb2.HealthCheckResponse.SERVING) == kept
            overall = (await check(health_pb2.HealthCheckRequest())).status
            assert overall == health_pb2.HealthCheckResponse.SERVING


async def ask(channel, method, **fields):
    body = request_of(method)(**fields).SerializeToString()
    answer = await channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(
        body, timeout=patience.SECONDS
    )
    return message(f"{method}Response").FromString(answer)


async def test_open_inference_protocol_knows_versions(server):
    """The index in Triton's words for a state; metadata names all versions in service; each answers and counts for
    itself."""
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        index = (await ask(channel, "RepositoryIndex")).models
        found = {(one.name, one.version): (one.state, one.reason) for one in index}
        assert len(found) == len(index) == 4 + 4 * 3
        assert found["scoring/scorer", "1"] == found["toy/decoder", "2"] == ("READY", "")
        state, reason = found["toy/encoder", "4"]
        assert (state, reason.startswith(REFUSED)) == ("UNAVAILABLE", True)
        assert found["toy/sampler", "1"][0] == "UNAVAILABLE"
        ready = (await ask(channel, "RepositoryIndex", ready=True)).models
        assert {one.state for one in ready} == {"READY"}
        assert len(ready) == 4 + 2 * 3
        metadata = await ask(channel, "ModelMetadata", name="toy/decoder")
        assert [*metadata.versions] == ["2", "3"]
        tensor = {"name": "latent", "datatype": "FP32", "shape": LATENTS.shape}
        for version, answers in (("", "3"), ("2", "2"), ("2", "2")):
            answer = await ask(
                channel, "ModelInfer", model_name="toy/decoder", model_version=version, inputs=[tensor],
                raw_input_contents=[LATENTS.tobytes()],
            )  # fmt: skip
            assert answer.model_version == answers
            images = np.frombuffer(answer.raw_output_contents[0], np.float32)
            np.testing.assert_allclose(images, toy.decode(LATENTS, seed=int(answers)).ravel(), atol=1e-6)
        statistics = (await ask(channel, "ModelStatistics", name="toy/decoder")).model_stats
        assert [(one.version, one.inference_stats.success.count) for one in statistics] == [
            ("3", 1),
            ("2", 2),
        ]
        (one,) = (await ask(channel, "ModelStatistics", name="toy/decoder", version="2")).model_stats
        assert (one.version, one.inference_count) == ("2", 10)
        assert [
            (await ask(channel, "ModelReady", name="toy/decoder", version=version)).ready
            for version in ("", "1", "2", "3", "4")
        ] == [True, False, True, True, False]


async def test_the_client_tells_of_every_version(server):
    """`versions` of all that is known, `models` of what is in service; a version is chosen by number."""
    async with AsyncClient(server.grpc_address) as client:
        versions = await client.versions()
        assert [(v.name, v.version, v.state.upper(), v.is_default) for v in versions] == KNOWN
        assert [v.model is not None for v in versions] == [True, False, True, True, False]
        assert versions[1].reason.startswith(REFUSED)
        assert [(m.name, m.version) for m in await client.models()] == [
            ("scoring", 1),
            ("toy", 3),
            ("toy", 2),
        ]
        for version in (2, 3):
            decoded = await client.decode("toy", LATENTS, version=version)
            np.testing.assert_allclose(decoded.images, toy.decode(LATENTS, seed=version), atol=1e-6)
        with pytest.raises(VaeError, match=r"NOT_FOUND: model\.version: version 4 is refused: decoder\.onnx"):
            await client.decode("toy", LATENTS, version=4)
        with pytest.raises(ValueError, match=r"version: want -2\*\*63"):
            await client.decode("toy", LATENTS, version=1 << 63)


async def test_the_command_line_shows_every_version(server, capsys, tmp_path):
    """A table with the reason last, and JSON in which what is not known of a version is null."""

    async def run(*arguments):
        status = await asyncio.to_thread(main, [*arguments, "--address", server.grpc_address])
        return status, capsys.readouterr()

    status, said = await run("models")
    assert status == 0
    header, *rows = said.out.splitlines()
    assert header.split()[:3] == ["NAME", "VERSION", "STATE"]
    assert [row.split()[:3] for row in rows] == [
        ["scoring", "1", "ready"],
        ["toy", "4", "refused"],
        ["toy", "3", "ready,"],
        ["toy", "2", "ready"],
        ["toy", "1", "available"],
    ]
    assert rows[2].split()[3] == "default"
    column = header.index("REASON")
    assert rows[1][column:].startswith(REFUSED)
    assert [row[column:] for row in (rows[0], rows[2], rows[3])] == ["", "", ""]
    status, said = await run("models", "--json")
    entries = json.loads(said.out)
    assert len({tuple(sorted(entry)) for entry in entries}) == 1
    assert [(e["name"], e["version"], e["state"].upper(), e["is_default"]) for e in entries] == KNOWN
    assert [e["ready"] for e in entries] == [True, False, True, True, False]
    assert entries[1]["image_shape"] is None
    assert entries[2]["image_shape"] == [*toy.IMAGE_SHAPE]
    out = tmp_path / "x.npz"
    for version in ("2", "3"):
        sample = [
            "sample",
            "--model",
            "toy",
            "--version",
            version,
            "--seed",
            "1",
            "--count",
            "3",
            "--out",
            str(out),
        ]
        assert (await run(*sample))[0] == 0
        with np.load(out) as arrays:
            wanted = toy.decode(arrays["latents"], seed=int(version))
            np.testing.assert_allclose(arrays["images"], wanted, atol=1e-6)
    status, said = await run("encode", "--model", "toy", "--version", "4", str(out), "--out", str(out))
    assert status == 1
    assert "version 4 is refused" in said.err


class BeforeVersions(vae_service_pb2_grpc.VaeServiceServicer):
    """A server of before there were several versions."""

    def ListModels(self, request, context):
        served = models_pb2.ServedModel(name="old", version=5, digest="d" * 64)
        return pb.ListModelsResponse(models=[models_pb2.Model(model=served, ready=True, kind="vae")])


def test_a_server_older_than_the_client(capsys):
    """It tells of versions in service alone, which are ready; the table shows them."""
    server = grpc.server(ThreadPoolExecutor(2))
    vae_service_pb2_grpc.add_VaeServiceServicer_to_server(BeforeVersions(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}") as client:
        (version,) = client.versions()
    assert (version.name, version.version, version.state, version.is_default) == ("old", 5, "ready", True)
    assert version.model.kind == "vae"
    assert main(["models", "--address", f"127.0.0.1:{port}"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:4] == ["old", "5", "ready", "vae"]
    server.stop(None).wait()
