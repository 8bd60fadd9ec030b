"""What is queued, what is cut from it, and how the parts of a request come together again."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serving.errors import ExecutionFailed, MemoryShort, OutputNotFinite, ServingError, is_short_of_memory
from serving.finite import all_finite
from serving.host.logs import NO_TRACE
from serving.tracing.call_trace import CallTrace

log = logging.getLogger(__name__)

Rows = NDArray[np.float32]
Outputs = Sequence[Rows]
Run = Callable[[dict[str, Rows]], Outputs]
"""One graph: [rows, …] by the name of the input → arrays with the same number of rows."""

_MEMORY_RETRY_S = 1.0
_MANY_VALUES = 1 << 18
"""Outputs are looked through on the thread that ran the graph if they are more, or the event loop would stand
still. Fewer on the loop: the look gives Python's lock away twice, and an executor waits for it to come back.
Done there always, `mlp_64x8` took 13 % more CPU time a request."""


@dataclass(eq=False, slots=True)
class Entry:
    """One request's rows, with the future its caller awaits."""

    rows: tuple[Rows, ...]
    """An array for each input of the graph, all with ``count`` rows."""
    count: int
    reply: asyncio.Future[Outputs]
    queued_at: float
    waiting: int
    """Rows that no batch has taken."""
    answered: int = 0
    outputs: Outputs | None = None
    """Where the parts of a split entry are put together."""
    trace: CallTrace | None = None
    """Of the call that it is for, if that is recorded."""

    def answer(self, part: slice, outputs: Outputs) -> None:
        """Take the outputs of some of the rows; the last of them answers the caller."""
        if self.reply.done():  # cancelled while the batch ran
            return
        self.answered += part.stop - part.start
        if part.stop - part.start == self.count:
            self.reply.set_result(outputs)
            return
        if self.outputs is None:
            self.outputs = [np.empty((self.count, *o.shape[1:]), o.dtype) for o in outputs]
        for whole, piece in zip(self.outputs, outputs, strict=True):
            whole[part] = piece
        if self.answered == self.count:
            self.reply.set_result(self.outputs)

    def fail(self, failure: Exception) -> None:
        if not self.reply.done():
            self.reply.set_exception(failure)


@dataclass(eq=False, slots=True)
class Batch:
    """Rows of several entries that go through the graph together."""

    cut_at: float
    parts: list[tuple[Entry, slice]] = field(default_factory=list)
    rows: int = 0
    is_full: bool = False
    started_at: float = 0.0
    seconds: float = 0.0
    """When the graph began, and how long it took."""
    outputs: Outputs = ()
    is_finite: bool = False
    """Whether all of them are known to be."""
    failure: Exception | None = None
    """Why there are no outputs."""

    def feed(self, inputs: Sequence[str]) -> dict[str, Rows]:
        """The rows of all parts, by the name of the graph's input."""
        if len(self.parts) == 1:
            entry, part = self.parts[0]
            return {name: rows[part] for name, rows in zip(inputs, entry.rows, strict=True)}
        return {
            name: np.concatenate([entry.rows[place][part] for entry, part in self.parts])
            for place, name in enumerate(inputs)
        }

    def ran(self, outputs: Outputs, seconds: float) -> None:
        """What the graph gave, and how long it took. Raises ValueError for too few rows, or too many."""
        self.outputs, self.seconds = outputs, seconds
        check_rows(outputs, self.rows)
        self.is_finite = sum(output.size for output in outputs) > _MANY_VALUES and _are_finite(outputs)

    def answer(self) -> None:
        """Tell every entry what became of its rows."""
        if not self.failure:
            try:
                self._split()
            except Exception as exc:
                self.failure = exc
        if self.failure:
            self._fail(self.failure)

    def _split(self) -> None:
        """Give every entry the outputs of its rows."""
        start, are_finite = 0, self.is_finite or _are_finite(self.outputs)
        for entry, part in self.parts:
            stop = start + part.stop - part.start
            outputs = [output[start:stop] for output in self.outputs]
            if are_finite or _are_finite(outputs):
                entry.answer(part, outputs)
            else:
                entry.fail(
                    OutputNotFinite(
                        "the model gives NaN or infinity for some of these rows; want other values"
                    )
                )
            start = stop

    def show(self, watch: Callable[[Outputs], None] | None) -> None:
        """The outputs, if there are any, to one who is no caller; what comes of it harms nobody."""
        if watch is None or self.failure or not self.rows:
            return
        try:
            watch(self.outputs)
        except Exception:
            log.exception("watching the outputs failed")

    def _fail(self, failure: Exception) -> None:
        """Tell every entry, in words for its caller, that the graph could not be run."""
        told: ServingError = ExecutionFailed("the model could not be run")
        ids = next((entry.trace.ids for entry, _ in self.parts if entry.trace), NO_TRACE)
        if is_short_of_memory(failure):
            log.error("a batch of %d rows failed: %s", self.rows, str(failure).splitlines()[:1], extra=ids)
            told = MemoryShort("memory was short for these rows", _MEMORY_RETRY_S)
        else:
            log.error("a batch of %d rows failed", self.rows, exc_info=failure, extra=ids)
        for entry, _ in self.parts:
            entry.fail(told)


def _are_finite(outputs: Outputs) -> bool:
    return all(output.dtype.kind != "f" or all_finite(output) for output in outputs)


def check_rows(outputs: Outputs, rows: int) -> None:
    """Raises ValueError: a graph must give as many rows as it got."""
    for index, output in enumerate(outputs):
        if len(output) != rows:
            raise ValueError(f"output {index}: want {rows} rows, came {len(output)}")
