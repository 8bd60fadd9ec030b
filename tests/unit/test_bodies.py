"""Waiting for messages of requests: within a time, and of late ones for a few only."""

import asyncio

import pytest

from serving.doors import bodies
from serving.doors.bodies import Bodies
from serving.errors import RequestUnfinished, TooManyCalls
from tests.support.patience import until


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(bodies, "_LOOK_S", 0.005)
    monkeypatch.setattr(bodies, "_PROMPT_S", 0.01)


async def never():
    await asyncio.Event().wait()


async def test_what_comes_is_given():
    """Also when it comes late, as long as it is within the limit."""
    made = Bodies(limit_s=1000.0, message_bytes=1)
    come = asyncio.Event()

    async def late():
        await come.wait()
        return "message"

    reading = asyncio.create_task(made.read(late))
    await asyncio.sleep(0.05)
    come.set()
    assert await reading == "message"


async def test_what_does_not_come_is_given_up():
    """With the time that it had; the task that waited can go on to other things."""
    made = Bodies(limit_s=0.02, message_bytes=1)
    with pytest.raises(RequestUnfinished, match=r"within 0\.02 s"):
        await made.read(never)
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_of_late_messages_the_first_are_waited_for():
    """As many as fit into 1 GiB; the others are told to try again, and when one has gone there is room for another."""
    made = Bodies(limit_s=1000.0, message_bytes=1 << 28)
    reading = [asyncio.create_task(made.read(never)) for _ in range(7)]
    await until(lambda: sum(task.done() for task in reading) == 3)
    assert [type(task.exception()) for task in reading if task.done()] == [TooManyCalls] * 3
    assert not any(task.done() for task in reading[:4])
    reading[0].cancel()
    another = asyncio.create_task(made.read(never))
    one_too_many = asyncio.create_task(made.read(never))
    await until(one_too_many.done)
    assert isinstance(one_too_many.exception(), TooManyCalls)
    assert not another.done()
    for task in (*reading, another):
        task.cancel()


async def test_who_leaves_is_cancelled_as_ever():
    """A caller that hangs up while its message is awaited is no error of the message."""
    made = Bodies(limit_s=1000.0, message_bytes=1)
    reading = asyncio.create_task(made.read(never))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
