"""A server that stops under load leaves no caller in doubt."""

import asyncio
from collections import Counter

import grpc

from serving.pb.vae.v1 import vae_service_pb2 as pb
from serving.server import running
from tests.support.patience import SECONDS

SAMPLE = pb.SampleRequest(count=1, seed=1).SerializeToString()


async def caller(channel, codes, ended):
    """One that calls again as soon as it has heard, and does not repeat a call by itself."""
    call = channel.unary_unary("/vae.v1.VaeService/Sample")
    while not ended.is_set():
        try:
            await call(SAMPLE, timeout=SECONDS)
            codes["OK"] += 1
        except grpc.aio.AioRpcError as error:
            codes[error.code().name] += 1


async def test_whoever_calls_while_it_stops_hears_that_nothing_was_begun(settings):
    """UNAVAILABLE, upon which one calls again; CANCELLED would not say whether the call was begun."""
    codes, ended = Counter(), asyncio.Event()
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    async with running(settings) as server:
        channels = [grpc.aio.insecure_channel(server.grpc_address, options) for _ in range(8)]
        callers = [
            asyncio.create_task(caller(channel, codes, ended)) for channel in channels for _ in range(8)
        ]
        while codes["OK"] < 100:  # noqa: ASYNC110  # each of many callers counts
            await asyncio.sleep(0.01)
    ended.set()
    await asyncio.gather(*callers)
    for channel in channels:
        await channel.close()
    assert set(codes) == {"OK", "UNAVAILABLE"}, codes
