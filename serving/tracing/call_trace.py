"""What is remembered of a call while it is answered: numbers and times.

Spans are made of them later, on another thread: they cost as much as a small request itself.
"""

import random
import time
from contextvars import ContextVar
from typing import NamedTuple

from serving.tracing.trace_context import Parent

_MOST_RUNS = 64
"""Batches of one call that become spans: a stream of a million rows has as many batches as it likes."""

current: ContextVar["CallTrace | None"] = ContextVar("current_call_trace", default=None)
"""The call that a task works for, if it is recorded."""


class Graph(NamedTuple):
    """One graph of a model in service."""

    model: str
    version: int
    name: str
    provider: str


class Wait(NamedTuple):
    """Rows of a call in a queue, until the first batch took some, or nobody awaited them any more."""

    graph: Graph
    queued_at: float
    ended_at: float
    rows: int


class BatchRun:
    """One batch, as all the traced calls see it that had rows in it."""

    __slots__ = ("failed", "graph", "members", "requests", "rows", "seconds", "started_at")

    def __init__(
        self, graph: Graph, started_at: float, seconds: float, *, rows: int, requests: int, failed: bool
    ) -> None:
        self.graph = graph
        self.started_at, self.seconds = started_at, seconds
        self.rows, self.requests, self.failed = rows, requests, failed
        self.members: list[tuple[int, int, int]] = []
        """Of each call the ids of its trace, of its own span and of its span of this batch.

        Not the calls themselves: through each other they would keep all of a busy day in memory."""


class CallTrace:
    """One call that is recorded. Times are those of ``time.perf_counter``."""

    __slots__ = (
        "batches", "code", "ended_at", "model", "name", "parent", "rows", "runs", "span_id", "started_at",
        "started_ns", "system", "trace_id", "version", "waits",
    )  # fmt: skip

    def __init__(self, name: str, trace_id: int, parent: Parent | None) -> None:
        """``name`` is that of the method."""
        self.name, self.trace_id, self.span_id, self.parent = name, trace_id, new_span_id(), parent
        self.system = ""
        """The protocol that it came by."""
        self.started_ns, self.started_at = time.time_ns(), time.perf_counter()
        self.ended_at = self.started_at
        self.code = "CANCELLED"
        """The name of its gRPC code."""
        self.model = ""
        """As metrics call it; never what the caller called it."""
        self.version = 0
        self.rows: dict[str, int] = {}
        """By graph."""
        self.batches = 0
        self.waits: list[Wait] = []
        self.runs: list[tuple[BatchRun, int, int]] = []
        """Batches, the id of the call's span of each, and how many rows of it are the call's."""

    @property
    def ids(self) -> dict[str, str]:
        """As logs and exemplars show them."""
        return {"trace_id": f"{self.trace_id:032x}", "span_id": f"{self.span_id:016x}"}

    @property
    def spans(self) -> int:
        """How many it becomes."""
        return 1 + len(self.waits) + len(self.runs)

    def waited(self, wait: Wait) -> None:
        if len(self.waits) < _MOST_RUNS:
            self.waits.append(wait)

    def ran(self, run: BatchRun, rows: int) -> None:
        """So many rows of the call were in this batch."""
        self.version = run.graph.version
        self.batches += 1
        self.rows[run.graph.name] = self.rows.get(run.graph.name, 0) + rows
        if len(self.runs) < _MOST_RUNS:
            span_id = new_span_id()
            self.runs.append((run, span_id, rows))
            run.members.append((self.trace_id, self.span_id, span_id))

    def at_ns(self, moment: float) -> int:
        """Nanoseconds of the calendar."""
        return self.started_ns + int((moment - self.started_at) * 1e9)


def new_span_id() -> int:
    """Never 0, which stands for none."""
    return random.getrandbits(64) or 1
