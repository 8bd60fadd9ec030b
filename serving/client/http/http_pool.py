"""Which of a server's addresses has its turn, and the open connections that no call uses.

Without input or output: the same for threads and for asyncio.
"""

import threading
import time
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

MOST_CONNECTIONS = 64
"""Of a client. So many callers share a batch of a fast graph; the others wait here."""
_STALE_S = 30.0
"""After which the names' addresses are asked for again, before another connection is opened."""
_HASTY_S = 1.0
"""The same once a connection was lost or refused."""
_IDLE_S = 60.0
"""The server closes after 75."""
_DOWN_S, _LONGEST_DOWN_S = 10.0, 600.0
"""An address that could not be reached is left out for so long, and twice as long each time."""

Address = tuple[int, Any]
"""Family and address, as the socket module has them."""


class Pooled(Protocol):
    """A connection, of one call at a time."""

    address: Address
    is_used: bool
    """Whether it has carried a call."""
    is_spoiled: bool
    """Whether a request was not sent to its end."""

    def abort(self) -> None:
        """Whoever waits for it is woken, in whatever thread."""

    def close(self) -> None:
        """Nobody uses it."""


C = TypeVar("C", bound=Pooled)


class Pool(Generic[C]):
    """Of one process, and of one event loop in asyncio."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._addresses: list[Address] = []
        self._asked_at = float("-inf")
        self._doubtful = False
        self._turn = 0
        self._idle: dict[Address, list[tuple[float, C]]] = {}
        self._busy: set[C] = set()
        self._down: dict[Address, tuple[float, float]] = {}
        """Until when, and for how long."""
        self.is_closed = False

    def idle(self) -> C | None:
        """A connection of the address whose turn it is; None if one is to be opened."""
        with self._lock:
            self._check()
            addresses = self._up() or self._addresses
            if not addresses:
                return None
            self._turn = (self._turn + 1) % len(addresses)
            waiting = self._idle.get(addresses[self._turn])
            if not waiting:
                return None
            connection = waiting.pop()[1]  # the one used last, so that what a burst opened grows old
            self._busy.add(connection)
            return connection

    def wants_addresses(self) -> bool:
        """Whether the name is to be looked up, before a connection is opened."""
        age = time.monotonic() - self._asked_at
        return not self._addresses or age > _STALE_S or (self._doubtful and age > _HASTY_S)

    def found(self, addresses: Sequence[Address]) -> None:
        """What the name stands for now; nothing if that cannot be told."""
        with self._lock:
            self._asked_at, self._doubtful = time.monotonic(), False
            self._addresses = list(dict.fromkeys(addresses)) or self._addresses
            gone = [address for address in self._idle if address not in self._addresses]
            dropped = [connection for address in gone for _, connection in self._idle.pop(address)]
        for connection in dropped:
            connection.close()

    def candidates(self) -> list[Address]:
        """Where to connect: the address whose turn it is, then the others, those that were down last."""
        with self._lock:
            up = self._up()
            turn = self._turn % len(up) if up else 0
            return [*up[turn:], *up[:turn], *(address for address in self._addresses if address not in up)]

    def opened(self, connection: C) -> None:
        """It is in use. Raises ValueError if the client was closed meanwhile."""
        with self._lock:
            if self.is_closed:
                connection.close()
            self._check()
            self._down.pop(connection.address, None)
            self._busy.add(connection)

    def refused(self, address: Address) -> None:
        """It could not be reached."""
        with self._lock:
            self._doubtful = True
            until, span = self._down.get(address, (0.0, _DOWN_S / 2))
            if until < time.monotonic():
                span = min(2 * span, _LONGEST_DOWN_S)
                self._down[address] = time.monotonic() + span, span

    def give_back(self, connection: C) -> None:
        """For the next call."""
        now = time.monotonic()
        with self._lock:
            self._busy.discard(connection)
            if self.is_closed or connection.address not in self._addresses:
                old = [connection]
            else:
                waiting = self._idle.setdefault(connection.address, [])
                waiting.append((now, connection))
                count = next(n for n, (since, _) in enumerate(waiting) if now - since <= _IDLE_S)
                old = [aged for _, aged in waiting[:count]]
                del waiting[:count]
        for one in old:
            one.close()

    def drop(self, connection: C) -> None:
        """It is of no use any more."""
        with self._lock:
            self._busy.discard(connection)
        connection.close()

    def lost(self, connection: C) -> None:
        """It broke, or brought nothing: those of its address that wait may be in the same state."""
        self.drop(connection)
        with self._lock:
            self._doubtful = True
            others = self._idle.pop(connection.address, [])
        for _, other in others:
            other.close()

    def close(self) -> None:
        """All connections, used or not."""
        with self._lock:
            self.is_closed = True
            waiting = [connection for of_one in self._idle.values() for _, connection in of_one]
            self._idle.clear()
            busy = list(self._busy)
        for connection in waiting:
            connection.close()
        for connection in busy:
            connection.abort()

    def forget(self) -> None:
        """All connections, in a copy of the process that they belong to; the lock may be held for ever."""
        for waiting in self._idle.values():
            for _, connection in waiting:
                connection.close()

    def _check(self) -> None:
        if self.is_closed:
            raise ValueError("this client is closed")

    def _up(self) -> list[Address]:
        if not self._down:
            return self._addresses
        now = time.monotonic()
        return [address for address in self._addresses if self._down.get(address, (0.0, 0.0))[0] <= now]
