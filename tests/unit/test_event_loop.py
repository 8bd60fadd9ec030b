import asyncio
import gc
import weakref

import uvloop

from serving.host import event_loop


def test_the_server_runs_on_uvloop():
    """It is installed with the server."""

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
