"""Several versions of a model in service, by a policy, while the repository's folder changes."""

import asyncio
import shutil
from contextlib import asynccontextmanager

import grpc
import numpy as np
import pytest

from serving.errors import StartupError
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.wire.tensors import from_array
from tests.support import patience, toy

LATENTS = np.random.default_rng(1).normal(size=(4, toy.LATENTS)).astype(np.float32)


@pytest.fixture
def settings(settings):
    """Nobody looks at the repository but the test."""
    return settings.model_copy(update={"reload_s": 0.0})


@asynccontextmanager
async def serving(settings, versions, **changes):
    """A server with that policy, and a stub."""
    async with (
        running(settings.model_copy(update={"versions": versions, **changes})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        yield server, VaeServiceStub(channel)


def in_service(server, name="toy"):
    return [model.version for model in server.repository.models if model.name == name]


def states(server, name="toy"):
    return {state.version: state.state for state in server.repository.versions(name)}


def reasons(server, name="toy"):
    return {state.version: state.reason for state in server.repository.versions(name)}


def read(server, metric, **labels):
    return server.metrics.registry.get_sample_value(metric, labels)


async def decoded(stub, version=0, name="toy"):
    """The version that answered, and its images; each version of these tests has its number as seed."""
    request = pb.DecodeRequest(
        model={"name": name, "version": version}, latents=from_array(LATENTS), image_format=1
    )
    response = await stub.Decode(request)
    images = np.frombuffer(response.images.tensor.data, np.float32).reshape(-1, *toy.IMAGE_SHAPE)
    return response.model.version, images


def add(repository, *versions, name="toy", **options):
    for version in versions:
        toy.make_bundle(repository, name, version, seed=version, **options)


def add_bad(repository, version):
    (toy.make_bundle(repository, version=version).root / "decoder.onnx").write_bytes(b"x")


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details()


async def test_each_version_answers_for_itself(settings, repository):
    """The one that a request names; the highest, if it names none; of others it is told what is in service."""
    add(repository, 2, 3)
    async with serving(settings, "latest:2") as (server, stub):
        assert in_service(server) == [3, 2]
        for asked, answers in ((0, 3), (3, 3), (2, 2)):
            version, images = await decoded(stub, asked)
            assert version == answers
            np.testing.assert_allclose(images, toy.decode(LATENTS, seed=answers), atol=1e-6)
        told = "model.version: no version 1; in service: toy version 3, toy version 2"
        assert await refused(decoded(stub, 1)) == ("NOT_FOUND", told)
        assert states(server) == {3: "ready", 2: "ready", 1: "available"}
        assert "not chosen by the server's version policy, latest:2" in reasons(server)[1]


async def test_a_third_version_takes_the_place_of_the_oldest(settings, repository):
    """In one step: the oldest answers until the newest does, and finishes the stream that began on it."""
    add(repository, 2)
    async with serving(settings, "latest:2") as (server, stub):
        assert in_service(server) == [2, 1]
        sample = {"model": {"version": 1}, "count": 10**9}
        stream = stub.SampleStream(pb.SampleStreamRequest(sample=sample))
        assert (await stream.read()).model.version == 1
        add(repository, 3)
        await asyncio.wait_for(server.repository.refresh(), patience.SECONDS)
        assert in_service(server) == [3, 2]
        assert states(server) == {3: "ready", 2: "ready", 1: "unloading"}
        assert (await decoded(stub))[0] == 3
        assert (await refused(decoded(stub, 1)))[0] == "NOT_FOUND"
        assert (await stream.read()).model.version == 1
        stream.cancel()
        await patience.until(lambda: states(server)[1] == "available")
        assert read(server, "vae_model_versions", model="toy", state="ready") == 2
        await patience.until(lambda: read(server, "vae_model_versions", model="toy", state="unloading") == 0)


async def test_a_version_whose_folder_is_removed_leaves(settings, repository):
    """The next one answers in its place, and one that the policy has room for now comes in; the model goes last."""
    add(repository, 2, 3)
    async with serving(settings, "latest:2") as (server, stub):
        shutil.rmtree(repository / "toy" / "3")
        await server.repository.refresh()
        assert in_service(server) == [2, 1]
        assert (await decoded(stub))[0] == 2
        shutil.rmtree(repository / "toy" / "1")
        await server.repository.refresh()
        assert in_service(server) == [2]
        shutil.rmtree(repository / "toy")
        await server.repository.refresh()
        assert in_service(server) == []
        await patience.until(lambda: not server.repository.versions())
        assert read(server, "vae_model_ready", model="toy") == 0
        add(repository, 2)
        await server.repository.refresh()
        assert (await decoded(stub))[0] == 2


async def test_a_rollback_does_not_wait_for_all_that_is_to_be_loaded(settings, repository, monkeypatch):
    """What is there is looked at anew between two versions: of many that came at once those are not loaded first."""
    add(repository, 2)
    async with serving(settings, "all") as (server, _):
        before, load = {}, server.repository._load

        async def watched(path, admit, alone):
            before[int(path.name)] = in_service(server)
            if path.name == "6":  # while the first is being loaded, another is taken back
                shutil.rmtree(repository / "toy" / "2")
                await server.repository._look()
            return await load(path, admit, alone)

        monkeypatch.setattr(server.repository, "_load", watched)
        add(repository, 4, 5, 6)
        await server.repository.refresh()
        assert before == {6: [2, 1], 5: [6, 1], 4: [6, 5, 1]}
        assert in_service(server) == [6, 5, 4, 1]


async def test_a_refused_version_displaces_none(settings, repository):
    """It is shown with its reason, counts for the alert, and a caller who asks for it is told; repaired it is served."""
    add(repository, 2)
    async with serving(settings, "latest:2") as (server, stub):
        add_bad(repository, 3)
        await server.repository.refresh()
        assert in_service(server) == [2, 1]
        assert states(server)[3] == "refused"
        assert reasons(server)[3].startswith("decoder.onnx: want ")
        assert read(server, "vae_refused_versions", model="toy") == 1
        code, details = await refused(decoded(stub, 3))
        assert code == "NOT_FOUND"
        assert details.startswith("model.version: version 3 is refused: decoder.onnx: want ")
        shutil.rmtree(repository / "toy" / "3")
        add(repository, 3)
        await server.repository.refresh()
        assert in_service(server) == [3, 2]
        assert read(server, "vae_refused_versions", model="toy") == 0


async def test_a_refused_version_leaves_its_place_to_an_older_one(settings, repository):
    """`latest:2` is the two highest that can be served."""
    add(repository, 2)
    add_bad(repository, 3)
    async with serving(settings, "latest:2") as (server, _):
        assert states(server) == {3: "refused", 2: "ready", 1: "ready"}
        assert read(server, "vae_refused_versions", model="toy") == 1


async def test_named_versions_and_no_others(settings, repository, caplog):
    """One that is not there is shown as missing, told of once, and served when it comes; a higher one is left alone."""
    add(repository, 2, 3)
    async with serving(settings, "1+4+3") as (server, stub):
        assert in_service(server) == [3, 1]
        assert states(server) == {4: "missing", 3: "ready", 2: "available", 1: "ready"}
        add(repository, 5)
        for _ in range(2):
            await server.repository.refresh()
        assert in_service(server) == [3, 1]
        assert (await refused(decoded(stub, 5)))[0] == "NOT_FOUND"
        add(repository, 4)
        await server.repository.refresh()
        assert in_service(server) == [4, 3, 1]
        shutil.rmtree(repository / "toy" / "3")
        await server.repository.refresh()
        assert in_service(server) == [4, 1]
        await patience.until(lambda: states(server)[3] == "missing")
    told = [message for message in caplog.messages if "though --versions names it" in message]
    assert [message.split(" is ")[0] for message in told] == ["toy version 4", "toy version 3"]


async def test_each_model_by_its_own_rule(settings, repository, caplog):
    """And a rule for a model that is not there is said at start, and in the list."""
    add(repository, 2, 3)
    add(repository, 1, 2, name="other")
    async with serving(settings, "toy=all,ghost=7") as (server, stub):
        assert in_service(server) == [3, 2, 1]
        assert in_service(server, "other") == [2]
        assert states(server, "ghost") == {7: "missing"}
        assert read(server, "vae_model_versions", model="ghost", state="missing") == 1
        assert (await refused(decoded(stub, name="")))[1].startswith(
            "model.name: want a model name; in service"
        )
        assert await refused(decoded(stub, name="ghost")) == (
            "NOT_FOUND",
            "model.name: no model 'ghost'; in service: other version 2, toy version 3, toy version 2, toy version 1",
        )
    assert "--versions names model ghost, which is not in the repository" in caplog.messages


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ("7", "^toy: --versions wants 7 of it, there is 2, 1$"),
        ("toy=7+8", r"^toy: --versions wants 7\+8 of it, there is 2, 1$"),
        ("3", "^toy version 3: .*decoder.onnx: want "),
    ],
)
async def test_a_model_of_which_nothing_can_be_served_ends_the_start(settings, repository, versions, message):
    """In one line that says what was wanted, or why it was refused."""
    add(repository, 2)
    if versions == "3":
        add_bad(repository, 3)
    with pytest.raises(StartupError, match=message):
        async with serving(settings, versions):
            pass


async def test_folders_of_one_number(settings, repository, caplog):
    """`01` beside `1` is the same version once more, and no number beyond the wire's is one: told of, passed over."""
    for name in ("01", "1" * 30):
        shutil.copytree(repository / "toy" / "1", repository / "toy" / name)
    async with serving(settings, "all") as (server, _):
        assert states(server) == {1: "ready"}
        (model,) = server.repository.models
        assert model.bundle.root.name == "1"
    assert sum("cannot be looked into" in message for message in caplog.messages) == 2


async def test_metrics_tell_versions_apart_while_they_are_in_service(settings, repository):
    """Requests by version and code, and the bundle of each; those of a version that left are gone. Drift is of the
    version that answers by default."""
    add(repository, 2)
    async with serving(settings, "latest:2") as (server, stub):
        for version in (0, 0, 1):
            await decoded(stub, version)
        request = pb.SampleRequest(model={"version": 1}, count=0)
        assert (await refused(stub.Sample(request)))[0] == "INVALID_ARGUMENT"
        counted = {
            (version, code): read(
                server, "vae_version_requests_total", model="toy", version=version, code=code
            )
            for version in ("1", "2")
            for code in ("OK", "INVALID_ARGUMENT")
        }
        assert counted == {
            ("2", "OK"): 2,
            ("1", "OK"): 1,
            ("1", "INVALID_ARGUMENT"): 1,
            ("2", "INVALID_ARGUMENT"): None,
        }
        took = read(server, "vae_version_request_duration_seconds_count", model="toy", version="1")
        assert took == 2
        images = np.random.default_rng(0).random((300, *toy.IMAGE_SHAPE), np.float32)
        encode = pb.EncodeRequest(model={"version": 1}, images={"tensor": from_array(images)})
        await stub.Encode(encode)
        old = next(model for model in server.repository.models if model.version == 1)
        await patience.until(lambda: old.drift.kl() > 0)
        assert np.isnan(read(server, "vae_posterior_kl_nats", model="toy"))
        info = [
            s.labels for m in server.metrics.registry.collect() if m.name == "vae_model" for s in m.samples
        ]
        assert {labels["version"] for labels in info} == {"1", "2"}
        add(repository, 3)
        await server.repository.refresh()
        labelled = {
            sample.labels["version"]
            for family in server.metrics.registry.collect()
            for sample in family.samples
            if "version" in sample.labels and sample.labels.get("model") == "toy"
        }
        assert labelled == {"2", "3"}


async def test_a_stream_counts_once_for_its_version(settings, repository):
    """With the code by which it ended: OK after its last row, CANCELLED where the reader left."""
    add(repository, 2)
    async with serving(settings, "all") as (server, stub):
        whole = stub.SampleStream(pb.SampleStreamRequest(sample={"count": 600}))
        assert sum([response.images.tensor.shape[0] async for response in whole]) == 600
        left = stub.SampleStream(pb.SampleStreamRequest(sample={"model": {"version": 1}, "count": 10**9}))
        await left.read()
        left.cancel()
        for version, code in (("2", "OK"), ("1", "CANCELLED")):
            labels = {"model": "toy", "version": version, "code": code}
            await patience.until(
                lambda labels=labels: read(server, "vae_version_requests_total", **labels) == 1
            )
            taken = read(server, "vae_version_request_duration_seconds_count", model="toy", version=version)
            assert taken == 1


@pytest.mark.slow
async def test_a_thousand_calls_during_twenty_reloads(settings, repository):
    """None fails, each is answered by a version that was in service while it was made, and as that version answers."""
    add(repository, 2)
    async with serving(settings, "latest:2") as (server, stub):
        newest, calls, stop = 2, 0, asyncio.Event()

        async def ask(named):
            nonlocal calls
            while not stop.is_set():
                known = newest
                version, images = await decoded(stub, known if named else 0)
                assert version == known if named else known <= version <= newest + 1
                np.testing.assert_allclose(images, toy.decode(LATENTS, seed=version), atol=1e-6)
                calls += 1

        tasks = [asyncio.create_task(ask(named)) for named in (False, True) * 4]
        for reload in range(20):
            add(repository, newest + 1)
            await server.repository.refresh()
            assert in_service(server) == [newest + 1, newest]
            newest += 1
            if reload % 2:
                shutil.rmtree(repository / "toy" / str(newest - 2))
        await patience.until(lambda: calls >= 1000 or any(task.done() for task in tasks))
        stop.set()
        await asyncio.gather(*tasks)
        assert calls >= 1000
        errors = {code for (*_, code), count in server.metrics.requests.items() if count.value}
        assert errors == {"OK"}
