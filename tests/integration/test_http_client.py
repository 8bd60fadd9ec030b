"""The clients over HTTP with real servers: restarts, TLS, wrong ports, proxies, copies of processes."""

import asyncio
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient, Client, VaeError
from serving.client.http import http_asyncio, http_blocking
from serving.server import running
from tests.support import patience, toy
from tests.support.both_clients import Asyncio, Blocking
from tests.support.http_peer import answering, models
from tests.support.process import serving

pytestmark = pytest.mark.usefixtures("no_pauses")


async def test_a_server_that_is_started_anew(settings):
    """Clients that outlive their server go on with the next one at its address, and say so while there is none."""
    async with running(settings) as server:
        address = server.http_address
        asynchronous, blocking = AsyncClient(f"http://{address}"), Client(f"http://{address}")
        assert await asynchronous.models() == await asyncio.to_thread(blocking.models)
    with pytest.raises(VaeError, match=r"UNAVAILABLE: http://.*: cannot be reached: Connection refused"):
        await asynchronous.models()
    with pytest.raises(VaeError, match=r"UNAVAILABLE: http://.*: cannot be reached: Connection refused"):
        await asyncio.to_thread(blocking.models)
    async with running(settings.model_copy(update={"http_address": address})):
        assert await asynchronous.models() == await asyncio.to_thread(blocking.models)
    await asynchronous.close()
    blocking.close()


def ended(server):
    return {
        code: count.value
        for (_, method, _, code), count in server.metrics.requests.items()
        if method == "SampleStream" and count.value
    }


async def test_a_stream_that_is_left_early_ends_at_the_server(server):
    """Closed, dropped or cancelled: the server stops drawing, and the client goes on to be of use."""
    url = f"http://{server.http_address}"

    def leave():
        with Client(url) as client:
            for _ in client.sample_stream("toy", 10**9):
                break
            next(client.sample_stream("toy", 10**9))
            assert client.models()

    await asyncio.to_thread(leave)
    async with AsyncClient(url) as client:
        stream = client.sample_stream("toy", 10**9)
        await anext(stream)
        await stream.aclose()

        async def read():
            async for _ in client.sample_stream("toy", 10**9):
                begun.set()

        begun = asyncio.Event()
        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.models()
    await patience.until(lambda: sum(ended(server).values()) == 4)
    assert ended(server) == {"CANCELLED": 4}


async def test_large_messages(repository, settings, tmp_path):
    """Requests and answers of many MiB are those of gRPC, bit for bit; beyond the server's limit both say the same."""
    toy.make_bundle(tmp_path / "large", "toy", image_shape=(1, 64, 64))
    chosen = settings.model_copy(
        update={"repository": tmp_path / "large", "max_rows": 4000, "max_message_mib": 24}
    )
    images = np.random.default_rng(0).random((1500, 1, 64, 64), np.float32)
    async with running(chosen) as server:
        answers, refusals = [], []
        for address in (server.grpc_address, f"http://{server.http_address}"):
            for calls in (Blocking, Asyncio):
                answers.append(await asyncio.to_thread(calls.do, address, "reconstruct", "toy", images))
                with pytest.raises(VaeError) as caught:
                    await asyncio.to_thread(calls.do, address, "encode", "toy", [bytes(25 << 20)])
                refusals.append(caught.value.code)
    assert set(refusals) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    for answer in answers:
        np.testing.assert_array_equal(answer.images, answers[0].images)


def test_tokens(repository, tmp_path, calls):
    """A newline at the end is no part of it; a wrong one is refused with the server's reason."""
    secret = tmp_path / "token"
    secret.write_text("s3cret\n")
    with serving(repository, "--auth-token-file", str(secret)) as server:
        url = f"http://{server.http_address}"
        assert calls.do(url, "models", token="s3cret\n")
        with pytest.raises(VaeError, match="UNAUTHENTICATED") as caught:
            calls.do(url, "models", token="wr0ng")
        assert caught.value.reason == "UNAUTHENTICATED"


def test_threads_and_their_connections(server_process):
    """16 threads share a client, each with its own answer, on as many connections as there are calls at once."""
    with Client(server_process) as client:
        wanted = {seed: client.sample("toy", 3, seed=seed).images for seed in range(16)}
        came = {}

        def work(seed):
            start.wait()
            came[seed] = [client.sample("toy", 3, seed=seed).images for _ in range(20)]

        start = threading.Barrier(16)
        threads = [threading.Thread(target=work, args=(seed,)) for seed in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(patience.SECONDS)
    for seed, images in wanted.items():
        assert len(came[seed]) == 20
        for again in came[seed]:
            np.testing.assert_array_equal(again, images)


@pytest.fixture(scope="module")
def server_process(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    toy.make_bundle(root)
    with serving(root) as server:
        yield f"http://{server.http_address}"


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=patience.SECONDS,
        check=False,
    )


FORK = """
import os, sys
from serving.client import Client
client = Client(sys.argv[1])
stream = client.sample_stream("toy", 10**6, seed=1)
next(stream)
before = client.sample("toy", 4, seed=1).images
closing = os.fork()
if closing == 0:
    client.close()
    os._exit(0)
os.waitpid(closing, 0)
child = os.fork()
same = all((client.sample("toy", 4, seed=1).images == before).all() for _ in range(50))
if child == 0:
    client.close()
    del client
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
assert same and status == 0, status
assert any(part.first_row > 10**5 for part in stream)  # beyond what was on its way
client.close()
"""


def test_a_copy_of_the_process(server_process):
    """After a fork both have connections of their own, and what the child closes stays open in the parent."""
    done = python(FORK, server_process)
    assert (done.returncode, done.stderr) == (0, "")


async def test_closing(server):
    """Calls that are running fail, later ones are refused, and closing again does nothing."""
    url = f"http://{server.http_address}"
    client = AsyncClient(url)
    stream = client.sample_stream("toy", 10**9)
    await anext(stream)
    await client.close()

    async def read_on():
        async for _ in stream:
            pass

    with pytest.raises(VaeError, match="CANCELLED: this client was closed"):
        await read_on()
    with pytest.raises(ValueError, match="this client is closed"):
        await client.models()
    await client.close()

    def blocking():
        client = Client(url)
        stream = client.sample_stream("toy", 10**9)
        next(stream)
        threading.Timer(0.1, client.close).start()
        with pytest.raises(VaeError, match="CANCELLED: this client was closed"):
            list(stream)
        with pytest.raises(ValueError, match="this client is closed"):
            client.models()
        client.close()

    await asyncio.to_thread(blocking)


LOOPS = """
import asyncio, sys
from serving.client import AsyncClient
client = AsyncClient(sys.argv[1])
async def use():
    return await client.models()
async def use_and_close():
    async with client:
        return await client.models()
assert asyncio.run(use()) == asyncio.run(use_and_close())
"""


def test_a_client_is_used_in_one_loop_after_another(server_process):
    """asyncio.run twice with the same client: each loop has connections of its own."""
    done = python(LOOPS, server_process)
    assert (done.returncode, done.stderr) == (0, "")


def test_more_calls_than_there_may_be(calls, monkeypatch):
    """They wait for their turn, and the one that had none says why."""
    for module in (http_blocking, http_asyncio):
        monkeypatch.setattr(module, "MOST_CONNECTIONS", 0)
    with (
        answering(models()) as served,
        pytest.raises(VaeError, match=r"DEADLINE_EXCEEDED: \d+ calls of this"),
    ):
        calls.do(served.url, "models", timeout_s=0.1)
    assert not served.heads
