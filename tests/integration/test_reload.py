"""What a repository's folder may do while the server runs: versions half there, bad, replaced, gone."""

import asyncio
import logging
import os
import shutil

import grpc
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from serving import bundle
from serving.bundle import BundleError
from serving.errors import StartupError
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support import patience, toy
from tests.support.bundles import reseal, rewrite_manifest


@pytest.fixture
def settings(settings):
    """Nobody looks at the repository but the test."""
    return settings.model_copy(update={"reload_s": 0.0})


def versions(server):
    return {model.name: model.version for model in server.repository.models}


async def test_a_version_that_is_copied_in_is_served_once_it_is_whole(server, repository, tmp_path, caplog):
    """Whatever the order of its files, the manifest first included; every state of it is told of once."""
    whole = toy.make_bundle(tmp_path / "elsewhere", version=2, seed=1).root
    (repository / "toy" / "2").mkdir()
    for file in sorted(whole.iterdir(), key=lambda path: path.name != bundle.MANIFEST):
        shutil.copy2(file, repository / "toy" / "2")
        for _ in range(3):
            await server.repository.refresh()
    assert versions(server) == {"toy": 2}
    refusals = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert 1 <= len(refusals) == len(set(refusals)) < len(list(whole.iterdir()))


async def test_a_file_repaired_in_place_is_tried_again(server, repository):
    """A refusal holds for the files as they were, not for the version for ever."""
    decoder = toy.make_bundle(repository, version=2, seed=1).root / "decoder.onnx"
    good = decoder.read_bytes()
    decoder.write_bytes(good[:-1] + b"x")
    await server.repository.refresh()
    assert versions(server) == {"toy": 1}
    decoder.write_bytes(good)
    await server.repository.refresh()
    assert versions(server) == {"toy": 2}
    assert server.metrics.registry.get_sample_value("vae_refused_versions", {"model": "toy"}) == 0


@pytest.mark.parametrize("name", ["²", "0", "-1", "1.5", "٣", "1" * 200])
async def test_a_folder_with_an_odd_name_stops_no_reload(server, repository, name):
    """What is no version number is passed over; one that no manifest can have is refused."""
    shutil.copytree(repository / "toy" / "1", repository / "toy" / name)
    toy.make_bundle(repository, version=2, seed=1)
    await server.repository.refresh()
    assert versions(server) == {"toy": 2}


async def test_a_stream_holds_up_no_reload(server, stub, repository):
    """A version that a stream is on is replaced all the same, and the stream goes on; so are other models."""
    toy.make_bundle(repository, name="other")
    await server.repository.refresh()
    request = pb.SampleStreamRequest(sample={"model": {"name": "toy"}, "count": 10**9})
    stream = stub.SampleStream(request)
    assert (await stream.read()).model.version == 1
    for version in (2, 3):
        toy.make_bundle(repository, version=version, seed=version)
        toy.make_bundle(repository, name="other", version=version, seed=version)
        await asyncio.wait_for(server.repository.refresh(), patience.SECONDS)
    assert versions(server) == {"other": 3, "toy": 3}
    assert (await stream.read()).model.version == 1
    stream.cancel()


async def test_a_stream_on_a_version_that_is_long_gone_is_told_where_to_go_on(
    server, stub, repository, monkeypatch
):
    """Memory of replaced versions is not kept for ever: UNAVAILABLE, with the row that comes next."""
    monkeypatch.setattr("serving.models.in_service._LEFT_S", 0.05)
    request = pb.SampleStreamRequest(sample={"count": 10**9, "seed": 1}, rows_per_response=10)
    stream = stub.SampleStream(request)
    responses = aiter(stream)
    read = (await anext(responses)).first_row + 10
    toy.make_bundle(repository, version=2, seed=2)
    await server.repository.refresh()
    end = None
    while end is None:
        try:
            read = (await anext(responses)).first_row + 10
        except grpc.aio.AioRpcError as exc:
            end = exc
    assert end.code() == grpc.StatusCode.UNAVAILABLE
    assert end.details() == f"version 1 was replaced; go on from first_row {read}"


@pytest.mark.parametrize("how", ["gone", "empty", "a file"])
async def test_a_repository_that_cannot_be_seen_withdraws_nothing(
    server, stub, repository, tmp_path, caplog, how
):
    """A volume that is remounted, a link that is swapped: what was loaded goes on, said once, and changes count again
    when the folder is back."""
    caplog.set_level(logging.INFO)
    elsewhere = tmp_path / "elsewhere"
    repository.rename(elsewhere)
    if how == "empty":
        repository.mkdir()
    if how == "a file":
        repository.write_text("")
    for _ in range(3):
        await server.repository.refresh()
    assert (await stub.Sample(pb.SampleRequest(count=1))).model.version == 1
    assert sum("goes on serving" in record.getMessage() for record in caplog.records) == 1
    if how != "gone":
        repository.rmdir() if how == "empty" else repository.unlink()
    elsewhere.rename(repository)
    toy.make_bundle(repository, version=2, seed=1)
    toy.make_bundle(repository, name="other")
    await server.repository.refresh()
    assert versions(server) == {"other": 1, "toy": 2}
    shutil.rmtree(repository / "other")
    await server.repository.refresh()
    assert versions(server) == {"toy": 2}


async def test_a_folder_that_cannot_be_looked_into_stops_nothing(server, repository, monkeypatch, caplog):
    """`lost+found` of a volume, or a model whose permissions went wrong: said once, the others are reloaded, and what
    was served from it goes on."""
    toy.make_bundle(repository, name="other")
    await server.repository.refresh()
    (repository / "lost+found").mkdir()
    scandir = os.scandir

    def denied(path):
        if os.path.basename(path) in ("lost+found", "other"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("serving.models.version_folders.os.scandir", denied)  # the tests may run as root
    toy.make_bundle(repository, version=2, seed=1)
    for _ in range(3):
        await server.repository.refresh()
    assert versions(server) == {"other": 1, "toy": 2}
    told = [message for message in caplog.messages if "cannot be looked into" in message]
    assert len(told) == 2


async def test_a_file_repaired_with_its_time_kept_is_tried_again(server, repository):
    """`rsync -t` and `touch -r` keep the time of writing; the version is tried again all the same."""
    decoder = toy.make_bundle(repository, version=2, seed=1).root / "decoder.onnx"
    good, times = decoder.read_bytes(), decoder.stat()
    decoder.write_bytes(good[:-1] + b"x")
    os.utime(decoder, ns=(times.st_atime_ns, times.st_mtime_ns))
    await server.repository.refresh()
    assert versions(server) == {"toy": 1}
    decoder.write_bytes(good)
    os.utime(decoder, ns=(times.st_atime_ns, times.st_mtime_ns))
    await server.repository.refresh()
    assert versions(server) == {"toy": 2}


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), MemoryError()])
async def test_what_is_no_fault_of_the_files_is_tried_again(server, repository, monkeypatch, failure, caplog):
    """Storage that hiccups, memory that is short: the same files are tried again after a while, and told of once."""
    monkeypatch.setattr("serving.models.refusals._RETRY_S", 0.0)
    monkeypatch.setattr("serving.models.refusals._REST", 0)
    toy.make_bundle(repository, version=2, seed=1)
    opened, tries = os.open, []

    def failing(path, *arguments):
        if str(path).endswith("toy/2/decoder.onnx") and len(tries) < 3:
            tries.append(path)
            raise failure
        return opened(path, *arguments)

    monkeypatch.setattr("serving.bundle.sealed_files.os.open", failing)
    for _ in range(3):
        await server.repository.refresh()
        assert versions(server) == {"toy": 1}
    await server.repository.refresh()
    assert versions(server) == {"toy": 2}
    assert sum("toy version 2 refused" in message for message in caplog.messages) == 1


async def test_a_refused_version_whose_folder_is_removed_is_no_alert_any_more(server, repository):
    """The gauge goes back to 0, also when the model itself is gone with it."""
    for name in ("toy", "other"):
        bad = toy.make_bundle(repository, name=name, version=2).root
        (bad / "decoder.onnx").write_bytes(b"x")
    await server.repository.refresh()
    read = server.metrics.registry.get_sample_value
    assert [read("vae_refused_versions", {"model": name}) for name in ("toy", "other")] == [1, 1]
    shutil.rmtree(repository / "toy" / "2")
    shutil.rmtree(repository / "other")
    await server.repository.refresh()
    assert [read("vae_refused_versions", {"model": name}) for name in ("toy", "other")] == [0, 0]


def of_few_rows(content):
    """The toy's decoder with a bias from a table of 32 rows: it cannot run a larger batch."""
    model = onnx.load_from_string(content)
    graph = model.graph
    graph.node[0].output[0] = "plain"
    make = helper.make_node
    extra = [
        make("Shape", ["latent"], ["size"], start=0, end=1),
        make("Squeeze", ["size"], ["count"]),
        make("Range", ["nought", "count", "unit"], ["places"]),
        make("Gather", ["table", "places"], ["bias"]),
        make("Add", ["plain", "bias"], ["logits"]),
    ]
    nodes = [graph.node[0], *extra, *list(graph.node)[1:]]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    for name, value in (
        ("nought", np.int64(0)),
        ("unit", np.int64(1)),
        ("table", np.zeros((32, 24), np.float32)),
    ):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model.SerializeToString()


async def test_a_version_that_fails_in_warming_up_is_refused_like_any_other(settings, repository, caplog):
    """It is named once, counted, and stops neither the models behind it nor the next look; at start it is one line."""
    toy.make_bundle(repository, name="zoo")
    async with running(settings) as server:
        bad = toy.make_bundle(repository, version=2).root
        reseal(bad, "decoder.onnx", of_few_rows((bad / "decoder.onnx").read_bytes()))
        toy.make_bundle(repository, name="zoo", version=2, seed=1)
        for _ in range(3):
            await server.repository.refresh()
        assert versions(server) == {"toy": 1, "zoo": 2}
        refused = server.metrics.registry.get_sample_value("vae_refused_versions", {"model": "toy"})
        assert refused == 1
    refusals = [record for record in caplog.records if "toy version 2 refused" in record.getMessage()]
    assert len(refusals) == 1
    assert "the decoder cannot run a batch of 64 rows" in refusals[0].getMessage()
    shutil.rmtree(repository / "toy" / "1")
    with pytest.raises(StartupError, match="toy version 2: the decoder cannot run a batch of 64 rows"):
        async with running(settings):
            pass


async def test_a_version_that_raises_anything_is_refused(server, repository, monkeypatch, caplog):
    """Not only what a bundle's reader foresees: whatever loading raises is that version's fault alone."""

    def failing(*_):
        raise RuntimeError("something\nin two lines")

    toy.make_bundle(repository, version=2)
    monkeypatch.setattr("serving.models.loading.prove_parity", failing)
    await server.repository.refresh()
    assert versions(server) == {"toy": 1}
    assert (
        "toy version 2 refused: it cannot be loaded: RuntimeError: something in two lines" in caplog.messages
    )


def test_roles_are_bound_by_name(tmp_path):
    """The order of keys in manifest.json means nothing; a role that is missing or unknown is refused."""
    root = toy.make_bundle(tmp_path).root
    before = bundle.read(root).manifest
    rewrite_manifest(root, lambda document: document, sort_keys=True)
    assert bundle.read(root).manifest.graphs == before.graphs
    for role, kind, names in (("encoder", "outputs", ["mean"]), ("decoder", "inputs", ["latent", "extra"])):
        other = toy.make_bundle(tmp_path, name=f"{role}-{kind}").root

        def change(document, role=role, kind=kind, names=names):
            document["graphs"][role][kind] = {name: name for name in names}

        rewrite_manifest(other, change)
        with pytest.raises(BundleError, match=f"graphs.{role}.{kind}: want .*, came {', '.join(names)}"):
            bundle.read(other)


async def test_the_mean_is_the_mean_whatever_the_order_of_keys(settings, repository):
    """Encode gives mean and log_var by their names, not by their places in the manifest."""
    root = repository / "toy" / "1"
    rewrite_manifest(root, lambda document: document["files"].pop("golden.safetensors"), sort_keys=True)
    async with running(settings) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
        from serving.wire.tensors import from_array

        request = pb.EncodeRequest()
        request.images.tensor.CopyFrom(from_array(np.full((1, *toy.IMAGE_SHAPE), 0.5, np.float32)))
        response = await VaeServiceStub(channel).Encode(request)
    log_var = np.frombuffer(response.log_var.data, np.float32)
    assert np.array_equal(log_var, np.full(3, -1.0, np.float32))
