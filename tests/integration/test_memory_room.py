"""The budget of memory that all versions in service share."""

import os
import re
import shutil

import pytest

from serving.models.memory_budget import NoRoom, Room
from serving.server import running
from tests.support import process, toy

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="the system does not tell what a process takes"
)

SHAPE = (1, 128, 128)
MIB = 1 << 20


@pytest.fixture
def repository(tmp_path):
    """A model whose versions take some megabytes."""
    root = tmp_path / "models"
    for version in (1, 2, 3):
        add(root, version)
    return root


@pytest.fixture
def settings(settings):
    """Nobody looks at the repository but the test."""
    return settings.model_copy(update={"reload_s": 0.0, "versions": "all"})


def add(repository, version, name="toy"):
    toy.make_bundle(repository, name, version, seed=version, image_shape=SHAPE)


def states(server, name="toy"):
    return {state.version: state.state for state in server.repository.versions(name)}


async def taken_mib(settings):
    """By one version, as the server tells it."""
    async with running(settings.model_copy(update={"versions": "latest:1"})) as server:
        (model,) = server.repository.models
        told = server.metrics.registry.get_sample_value(
            "vae_version_memory_bytes", {"model": "toy", "version": str(model.version)}
        )
        assert told == model.memory_bytes
        return model.memory_bytes / MIB


async def test_a_version_for_which_there_is_no_room_is_refused(settings, repository, caplog):
    """What it takes, what is left and of what is said once; the rest is served, and it is tried when others leave."""
    one = await taken_mib(settings)
    assert one > 4  # 64 images of 128x128 in float32
    async with running(settings.model_copy(update={"memory_mib": int(2.5 * one)})) as server:
        assert states(server) == {3: "ready", 2: "ready", 1: "refused"}
        (reason,) = [state.reason for state in server.repository.versions() if state.version == 1]
        figures = re.fullmatch(
            rf"it takes (\S+) MiB of memory, want at most (\S+): of the {int(2.5 * one)} MiB of --memory-mib other "
            r"versions take (\S+)",
            reason,
        )
        wants, left, others = map(float, figures.groups())
        assert left < wants
        assert others == pytest.approx(int(2.5 * one) - left, abs=0.2)
        assert server.metrics.registry.get_sample_value("vae_refused_versions", {"model": "toy"}) == 1
        tried = len(caplog.messages)
        for _ in range(3):
            await server.repository.refresh()
        assert len(caplog.messages) == tried  # nor was it loaded again
        shutil.rmtree(repository / "toy" / "2")
        await server.repository.refresh()
        assert states(server)[1] == "ready"
    assert sum("toy version 1 refused: it takes" in message for message in caplog.messages) == 1


async def test_the_one_that_goes_makes_room_for_the_one_that_comes(settings, repository):
    """A budget for one version is enough for `latest:1`, also while it is replaced."""
    one = await taken_mib(settings)
    changed = {"versions": "latest:1", "memory_mib": int(1.5 * one)}
    async with running(settings.model_copy(update=changed)) as server:
        add(repository, 4)
        await server.repository.refresh()
        assert states(server)[4] == "ready"
        assert [model.version for model in server.repository.models] == [4]


async def test_each_model_has_one_version_before_any_has_two(settings, repository):
    """A model late in the alphabet is not left out for the second version of another."""
    for version in (1, 2):
        add(repository, version, name="zoo")
    one = await taken_mib(
        settings.model_copy(update={"versions": "latest:1", "repository": lone(repository)})
    )
    async with running(settings.model_copy(update={"memory_mib": int(2.5 * one)})) as server:
        assert [(model.name, model.version) for model in server.repository.models] == [("toy", 3), ("zoo", 2)]
        assert states(server, "zoo") == {2: "ready", 1: "refused"}


def lone(repository):
    """The same without the other model."""
    shutil.copytree(repository / "toy", repository.parent / "lone" / "toy")
    return repository.parent / "lone"


@pytest.mark.parametrize("versions", ["all", "2"])
def test_a_model_for_which_there_is_no_room_ends_the_start(repository, versions):
    """In one line; so does the only version there is, which the server loads itself.

    In a process of its own: one that has served already has room from before, and grows by nothing.
    """
    code, line = process.refused(repository, "--memory-mib", "1", "--versions", versions)
    assert code == 2
    assert re.search(r"toy version \d: it takes .* MiB of memory, want at most 1: of the 1 MiB", line)


def test_what_was_promised_is_not_promised_twice(tmp_path):
    """Two versions that are loaded at once share what is left; what is given back can be had again."""
    room, one, two = Room(10 * MIB), tmp_path / "1", tmp_path / "2"
    room.take(one, 6 * MIB, staying=1 * MIB)
    with pytest.raises(
        NoRoom, match=r"it takes 6 MiB of memory, want at most 3: .* other versions take 7$"
    ) as refused:
        room.take(two, 6 * MIB, staying=1 * MIB)
    assert refused.value.wanted == 6 * MIB
    room.take(one, 6 * MIB, staying=4 * MIB)  # told again with a better figure
    room.give_back(one)
    room.take(two, 6 * MIB, staying=4 * MIB)
    assert Room(None).left(one, 1 << 60) > 1 << 60
