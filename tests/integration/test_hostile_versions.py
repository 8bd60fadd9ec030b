"""What a version may do to a running server: nothing. It is refused, and all else goes on."""

import asyncio
import os
import shutil
import signal
import subprocess
import time

import pytest

from serving.bundle import BundleError
from serving.errors import StartupError
from serving.models.trial import _crash
from serving.server import running
from tests.support import hostile, process, toy


def versions(server):
    return {model.name: model.version for model in server.repository.models}


def refusals(caplog, name="toy"):
    return [message for message in caplog.messages if message.startswith(f"{name} version")]


def of_memory(repository, version):
    """A version that wants 512 MiB to load."""
    root = hostile.copied(repository / "toy" / "1", version)
    hostile.decoder(root, hostile.large_constant(512))


def without_end(repository, version):
    root = hostile.copied(repository / "toy" / "1", version)
    hostile.decoder(root, hostile.endless_loop())


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


BOUNDS = {
    "time": (without_end, {"load_timeout_s": 3}, "it takes more than 3 s to load; --load-timeout-s"),
    "memory": (of_memory, {"load_memory_mib": 256}, "it takes more than 256 MiB to load; --load-memory-mib"),
}


async def test_a_version_beyond_a_bound_is_refused(settings, repository, caplog):
    """Its process is ended; one line, counted; what was served goes on."""
    make, changed, words = BOUNDS["memory"]
    async with running(settings.model_copy(update=changed)) as server:
        make(repository, 2)
        for _ in range(3):
            await server.repository.refresh()
        assert versions(server) == {"toy": 1}
        assert server.metrics.registry.get_sample_value("vae_refused_versions", {"model": "toy"}) == 1
    assert refusals(caplog) == [f"toy version 2 refused: {words}"]


async def test_a_version_that_takes_long_holds_up_no_other_model(settings, repository, caplog):
    """Other models are reloaded and withdrawn meanwhile, and the server stops without waiting for it."""
    toy.make_bundle(repository, name="zoo")
    async with running(settings) as server:
        without_end(repository, 2)
        await asyncio.sleep(0.2)  # a look or more
        toy.make_bundle(repository, name="zoo", version=2, seed=1)
        await until(lambda: versions(server) == {"toy": 1, "zoo": 2})
        shutil.rmtree(repository / "zoo")
        await until(lambda: versions(server) == {"toy": 1})
    assert not refusals(caplog)


@pytest.mark.parametrize("bound", BOUNDS)
async def test_a_start_goes_on_with_the_version_before(settings, repository, caplog, bound):
    """Where another version can be served the server starts with that."""
    make, changed, words = BOUNDS[bound]
    make(repository, 2)
    async with running(settings.model_copy(update=changed)) as server:
        assert versions(server) == {"toy": 1}
    assert refusals(caplog) == [f"toy version 2 refused: {words}"]


@pytest.mark.parametrize(
    ("make", "flags", "words"),
    [
        (without_end, ("--load-timeout-s", "1"), "it takes more than 1 s to load; --load-timeout-s"),
        (of_memory, ("--load-memory-mib", "128"), "it takes more than 128 MiB to load; --load-memory-mib"),
    ],
    ids=BOUNDS,
)
def test_a_server_of_one_bad_version_ends_in_one_line(tmp_path, make, flags, words):
    """Exit code 2 and the bound, though the graph is still at work."""
    repository = tmp_path / "models"
    (repository / "toy").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    toy.make_bundle(elsewhere)
    make(elsewhere, 2)
    (elsewhere / "toy" / "2").rename(repository / "toy" / "2")
    assert process.refused(repository, *flags) == (2, f"vae-serve: error: toy version 2: {words}")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="/proc tells of children")
def test_a_load_without_end_holds_up_no_stop(repository):
    """SIGTERM ends the server, exit code 0, and the process in which the version was tried."""
    with process.serving(repository, "--reload-s", "0.1", "--grace-s", "1") as server:
        without_end(repository, 2)
        end = time.monotonic() + 20
        while not (tried := children(server.process.pid)) and time.monotonic() < end:
            time.sleep(0.02)
        assert tried
        assert server.terminate() == 0
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{tried[0]}") and time.monotonic() < end:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{tried[0]}")


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="/proc tells of children")
def test_a_start_without_end_can_be_stopped(tmp_path):
    """SIGTERM before the server serves: exit code 0, without waiting for the graph."""
    elsewhere, repository = tmp_path / "elsewhere", tmp_path / "models"
    toy.make_bundle(elsewhere)
    without_end(elsewhere, 2)
    (repository / "toy").mkdir(parents=True)
    (elsewhere / "toy" / "2").rename(repository / "toy" / "2")
    log = tmp_path / "log"
    with log.open("w") as stderr:
        server = subprocess.Popen(process.command(repository), stderr=stderr, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while "settings: " not in log.read_text() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1.5)  # the imports, and into the loop
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in (0, -signal.SIGTERM)
    assert "Traceback" not in log.read_text()


async def test_names_of_folders_forge_no_line(settings, repository, caplog):
    """A folder that no model can be is told of once, with its line break escaped, and blocks nothing."""
    bad = repository / "x\n2026-01-01 INFO forged"
    bad.mkdir()
    hostile.copied(repository / "toy" / "1", 2).rename(bad / "2")
    (repository / "loop").symlink_to("loop")
    async with running(settings) as server:
        toy.make_bundle(repository, version=3, seed=1)
        for _ in range(2):
            await server.repository.refresh()
        assert versions(server) == {"toy": 3}
    told = [message for message in caplog.messages if "no model can have that name" in message]
    assert len(told) == 1
    assert all("\n" not in message for message in caplog.messages)


async def test_a_start_with_nothing_but_a_bad_name_says_so(settings, repository, caplog):
    """The line before the last tells which folder was passed over."""
    (repository / "toy").rename(repository / "a toy")
    with pytest.raises(StartupError, match="no <model>/<version>/manifest"):
        async with running(settings):
            pass
    assert any(
        message.endswith("a toy cannot be looked into: no model can have that name")
        for message in caplog.messages
    )


def test_a_crash_is_the_fault_of_the_version():
    """But not an end by SIGKILL, nor one with an exit code: the version is tried again."""
    assert str(_crash(-signal.SIGSEGV)) == "it crashes the process that loads it: SIGSEGV"
    assert type(_crash(-signal.SIGSEGV)) is BundleError
    assert "is memory short?" in str(_crash(-signal.SIGKILL))
    assert "exit code 1" in str(_crash(1))
