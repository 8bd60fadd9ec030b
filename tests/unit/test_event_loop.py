import asyncio
import gc
import sys
import time
import weakref

import grpc
import pytest

from serving.host import event_loop


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop has no wheels for Windows")
def test_the_server_runs_on_uvloop():
    """It is installed with the server everywhere but on Windows."""
    import uvloop

    async def loop_of():
        seen.append(asyncio.get_running_loop())

    seen = []
    event_loop.run(loop_of())
    assert isinstance(seen[0], uvloop.Loop)


def test_what_stays_is_not_looked_at_again_and_what_went_is_collected():
    """After a call all that lives is frozen; a cycle that was frozen is collected by the next call."""

    class Node:
        pass

    thresholds = gc.get_threshold()
    try:
        node = Node()
        node.itself = node
        gone = weakref.ref(node)
        event_loop.spare_collector()
        assert gc.get_freeze_count() > 1000
        del node
        gc.collect()
        assert gone() is not None
        event_loop.spare_collector()
        assert gone() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop has no wheels for Windows")
def test_grpc_wakes_the_loop_once_for_many_events():
    """gRPC's own wake-up socket is read empty at once; calls side by side are all answered.

    What gRPC calls its poller may change with its version: then this test says that the loop no longer
    knows it, and nothing but speed is lost.
    """
    reads, read = [], event_loop.WakeUps.recv

    def counted(self, bufsize, flags=0, /):
        came = read(self, bufsize, flags)
        reads.append(len(came))
        return came

    async def echo(request, context):
        time.sleep(0.001)  # noqa: ASYNC251  # events pile up meanwhile
        return request

    async def calls():
        server = grpc.aio.server()
        handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/test/Echo")
            asked = [b"%d" % number for number in range(200)]
            assert await asyncio.gather(*map(call, asked)) == asked
        await server.stop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_loop.WakeUps, "recv", counted)
        event_loop.run(calls())
    assert reads, "the loop does not know gRPC's poller any more"
    assert max(reads) > 1
