import gc
import subprocess
import sys
import weakref

from serving.host import event_loop

ENDING = """
import asyncio, os, signal
from serving.host import event_loop

async def main():
    print(type(asyncio.get_running_loop()).__module__)

event_loop.run(main())
os.kill(os.getpid(), signal.SIGTERM)
os.kill(os.getpid(), signal.SIGINT)
print("in order")
"""


def test_a_server_that_is_over_is_not_killed_any_more():
    """Signals that come while Python ends change nothing; until then it ran on uvloop."""
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "uvloop\nin order\n", "")


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
