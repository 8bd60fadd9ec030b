"""serving.client.http.http_pool: turns of addresses, and connections that wait."""

import pytest

from serving.client.http import http_pool
from serving.client.http.http_pool import Pool

A, B = (2, ("10.0.0.1", 80)), (2, ("10.0.0.2", 80))


class Connection:
    """Remembers what became of it."""

    def __init__(self, address):
        self.address = address
        self.is_used = self.is_spoiled = self.is_closed = self.is_aborted = False

    def close(self):
        self.is_closed = True

    def abort(self):
        self.is_aborted = True


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets."""
    times = [1000.0]
    monkeypatch.setattr(http_pool.time, "monotonic", lambda: times[0])
    return times


@pytest.fixture
def pool(now):
    """Of a server with two addresses."""
    made = Pool()
    assert made.wants_addresses()
    made.found([A, B, A])
    return made


def opened(pool, address):
    connection = Connection(address)
    pool.opened(connection)
    return connection


def test_addresses_take_turns(pool):
    """A connection is taken from the address whose turn it is; where there is none, one is opened."""
    firsts = []
    for _ in range(4):
        assert pool.idle() is None
        firsts.append(pool.candidates()[0])
    assert firsts in ([A, B, A, B], [B, A, B, A])
    both = [opened(pool, A), opened(pool, B)]
    for connection in both:
        pool.give_back(connection)
    assert {pool.idle(), pool.idle()} == set(both)


def test_an_address_that_is_down_is_left_out(pool, now):
    """For longer each time, and not if there is no other."""
    pool.refused(A)
    assert [pool.idle() or pool.candidates() for _ in range(3)] == [[B, A]] * 3
    now[0] += 11
    assert A in {(pool.idle(), pool.candidates()[0])[1] for _ in range(2)}
    pool.refused(A)
    now[0] += 11
    assert pool.candidates() == [B, A], "the second time it is out for longer"
    pool.refused(B)
    assert set(pool.candidates()) == {A, B}
    opened(pool, A)
    assert pool.candidates() == [A, B]


def test_when_names_are_looked_up(pool, now):
    """Before another connection, half a minute after the last time, or soon if something was lost."""
    assert not pool.wants_addresses()
    pool.refused(A)
    assert not pool.wants_addresses()
    now[0] += 2
    assert pool.wants_addresses()
    pool.found([])
    assert not pool.wants_addresses()
    assert set(pool.candidates()) == {A, B}, "nothing found leaves what was known"
    now[0] += 31
    assert pool.wants_addresses()


def test_what_waits_too_long_or_for_nothing_is_closed(pool, now):
    """What a burst has opened grows old; an address that is gone takes its connections with it."""
    burst = [opened(pool, A) for _ in range(3)]
    for connection in burst:
        pool.give_back(connection)
    now[0] += 59
    assert pool.idle() in (None, burst[2])
    used = pool.idle() or burst[2]
    assert used is burst[2], "the one used last is used first"
    now[0] += 2
    pool.give_back(used)
    assert [connection.is_closed for connection in burst] == [True, True, False]
    pool.found([B])
    assert burst[2].is_closed
    late = opened(pool, A)
    pool.give_back(late)
    assert late.is_closed


def test_closing(pool):
    """Connections that wait are closed, those in use are woken, and nothing more is taken."""
    busy, waiting = opened(pool, A), opened(pool, B)
    pool.give_back(waiting)
    pool.close()
    assert (waiting.is_closed, busy.is_aborted, busy.is_closed) == (True, True, False)
    pool.give_back(busy)
    assert busy.is_closed
    with pytest.raises(ValueError, match="closed"):
        pool.idle()
    with pytest.raises(ValueError, match="closed"):
        opened(pool, A)


def test_what_is_opened_too_late_is_closed(pool):
    """A client that was closed while it connected keeps nothing open."""
    pool.close()
    connection = Connection(A)
    with pytest.raises(ValueError, match="closed"):
        pool.opened(connection)
    assert connection.is_closed
