"""Streams that end early: closed by the reader, cut off, refused."""

import asyncio
import contextlib

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient, Client, VaeError
from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.pb.vae.v1.vae_service_pb2_grpc import VaeServiceStub
from serving.server import running
from serving.settings import Settings
from tests.support import patience, toy


@pytest.fixture
def repository(tmp_path):
    """Images large enough for a reader to hold the writer up."""
    toy.make_bundle(tmp_path / "models", image_shape=(1, 64, 64))
    return tmp_path / "models"


def ended(server):
    """Streams that have ended, by code."""
    calls = {}
    for (_, method, _, code), count in server.metrics.requests.items():
        if method == "SampleStream" and count.value:
            calls[code] = calls.get(code, 0) + count.value
    return calls


async def until_ended(server, streams):
    async with asyncio.timeout(patience.SECONDS):
        while sum(ended(server).values()) < streams:  # noqa: ASYNC110  # the server has no event to tell
            await asyncio.sleep(0.02)


async def closed_while_the_server_waits(address):
    async with AsyncClient(address) as client:
        for _ in range(5):
            stream = client.sample_stream("toy", 10**7, seed=1)
            await anext(stream)
            await asyncio.sleep(0.05)
            await stream.aclose()


async def connection_closed(address):
    for _ in range(5):
        client = AsyncClient(address)
        await anext(client.sample_stream("toy", 10**7, seed=1))
        await client.close()


async def loop_left(address):
    def read():
        with Client(address) as client:
            for _ in range(5):
                for number, _ in enumerate(client.sample_stream("toy", 10**7, seed=1)):
                    if number == 2:
                        break

    await asyncio.to_thread(read)


async def deadline_over(address):
    async with grpc.aio.insecure_channel(address) as channel:
        request = pb.SampleStreamRequest(sample={"count": 10**7})
        begun, timeout_s = 0, 0.05
        while begun < 5:
            read = 0
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in VaeServiceStub(channel).SampleStream(request, timeout=timeout_s):
                    read += 1
                    await asyncio.sleep(0.01)
            begun += bool(read)
            timeout_s *= 1 if read else 2  # on a busy machine the deadline is over before the first response


@pytest.mark.parametrize(
    "leave", [closed_while_the_server_waits, connection_closed, loop_left, deadline_over]
)
async def test_a_stream_that_the_reader_ends_is_cancelled(server, caplog, leave):
    """It is no failure of the server: counted as CANCELLED, without a traceback, and nothing is left in progress."""
    await leave(server.grpc_address)
    await until_ended(server, 5)
    if leave is deadline_over:  # a stream may be told before that its rows cannot be ready in time
        assert set(ended(server)) <= {"CANCELLED", "DEADLINE_EXCEEDED"}
    else:
        assert ended(server) == {"CANCELLED": 5}
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]
    inflight = server.metrics.registry.get_sample_value(
        "vae_inflight_requests", {"model": "toy", "method": "SampleStream"}
    )
    assert inflight == 0


@pytest.fixture
def settings(repository):
    return Settings(
        repository=repository,
        address="127.0.0.1:0",
        http_address="",
        metrics_address="127.0.0.1:0",
        reload_s=0,
        max_batch_rows=4,
    )


@pytest.fixture
async def narrow(settings):
    """A server with a queue that two requests fill."""
    async with running(settings.model_copy(update={"max_queue_rows": 300})) as started:
        yield started


async def test_a_stream_that_was_admitted_is_not_refused_in_its_middle(narrow):
    """Admission is of the request: while others fill the queue and are refused, an open stream gets its rows."""
    refused = []

    async with AsyncClient(narrow.grpc_address) as client, AsyncClient(narrow.grpc_address) as other:

        async def flood():
            while True:
                try:
                    await other.sample("toy", 256)
                except VaeError as exc:
                    refused.append(exc.code)
                    await asyncio.sleep(0.001)

        rows = 0
        tasks = []
        try:
            async for part in client.sample_stream(
                "toy", 10**9, seed=1, rows_per_response=200, format="uint8"
            ):
                rows += len(part.images)
                tasks = tasks or [asyncio.create_task(flood()) for _ in range(6)]
                if rows >= 6000 and len(refused) >= 20:
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    assert set(refused) == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_a_request_of_two_steps_is_refused_before_the_first_or_not_at_all(narrow):
    """What an encoder has worked for is not thrown away because the decoder's queue is full by then."""
    codes = set()

    async with AsyncClient(narrow.grpc_address) as client:
        images = np.zeros((250, 1, 64, 64), np.uint8)

        async def reconstruct():
            for _ in range(3):
                try:
                    await client.reconstruct("toy", images, format="uint8")
                except VaeError as exc:
                    codes.add((exc.code, "encoder" if "exceed" in str(exc) else "other"))

        await asyncio.gather(*(reconstruct() for _ in range(8)))
    rejected = narrow.metrics.registry.get_sample_value(
        "vae_rejected_total", {"model": "toy", "reason": "queue_full"}
    )
    rows = {
        graph: narrow.metrics.registry.get_sample_value(
            "vae_batch_rows_sum", {"model": "toy", "graph": graph}
        )
        for graph in ("encoder", "decoder")
    }
    assert rejected
    assert rows["encoder"] == rows["decoder"] > 0
    assert codes == {(grpc.StatusCode.RESOURCE_EXHAUSTED, "encoder")}


async def test_a_stream_fits_any_client(stub):
    """Without a word on the size of responses, they are within the 4 MiB that gRPC's clients take."""
    stream = stub.SampleStream(pb.SampleStreamRequest(sample={"count": 300}))
    rows = [response.images.tensor.shape[0] async for response in stream]
    assert sum(rows) == 300
    assert max(rows) < 256


async def test_calls_beyond_the_bound_are_refused_at_once(settings):
    """As many calls as may be are in progress; the next is told when to come again, and is taken once there is room."""
    async with (
        running(settings.model_copy(update={"max_calls": 2, "max_queue_rows": 4096})) as server,
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        stub = VaeServiceStub(channel)
        streams = [stub.SampleStream(pb.SampleStreamRequest(sample={"count": 10**7})) for _ in range(2)]
        for stream in streams:
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.Sample(pb.SampleRequest(count=1))
        assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.value.details() == "2 calls are in progress, as many as may be"
        assert b"RetryInfo" in dict(tuple(refusal.value.trailing_metadata()))["grpc-status-details-bin"]
        streams[0].cancel()
        await until_ended(server, 1)
        assert (await stub.Sample(pb.SampleRequest(count=1))).images
        rejected = server.metrics.registry.get_sample_value(
            "vae_rejected_total", {"model": "_unknown", "reason": "calls"}
        )
        assert rejected == 1
        streams[1].cancel()


@contextlib.asynccontextmanager
async def silent_server():
    """One that takes a stream and never says anything."""
    silence = asyncio.Event()

    async def stream(raw, context):
        await silence.wait()

    server = grpc.aio.server()
    handler = grpc.unary_stream_rpc_method_handler(stream)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("vae.v1.VaeService", {"SampleStream": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    silence.set()
    await server.stop(0)


async def test_a_stream_that_brings_nothing_ends(tmp_path):
    """A reader is not kept for ever: each response has the client's deadline, in both clients."""
    async with silent_server() as address:
        async with AsyncClient(address, timeout_s=0.2) as client:
            with pytest.raises(VaeError, match=r"DEADLINE_EXCEEDED: no response came for 0\.2 s"):
                await anext(client.sample_stream("toy", 10))

        def read():
            with Client(address, timeout_s=0.2) as client:
                return next(client.sample_stream("toy", 10))

        with pytest.raises(VaeError, match=r"DEADLINE_EXCEEDED: no response came for 0\.2 s"):
            await asyncio.to_thread(read)


async def test_a_limit_that_the_server_has_lowered_is_asked_for_again(settings, monkeypatch):
    """A client that outlives its server does not go by what the one before it took at once."""
    latents = np.zeros((50, 3), np.float32)
    async with running(settings) as server:
        address = server.grpc_address
        client = AsyncClient(address)
        assert len((await client.decode("toy", latents, format="uint8")).images) == 50
    monkeypatch.setattr("serving.client.splitting._REMEMBERED_S", 0.0)
    async with running(settings.model_copy(update={"address": address, "max_rows": 7})):
        assert len((await client.decode("toy", latents, format="uint8")).images) == 50
    await client.close()
