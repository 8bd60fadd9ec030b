"""What is queued, what is cut from it, and how the parts of a request come together again."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Outputs = tuple[Rows, ...]
Run = Callable[[Rows], Outputs]
"""One graph: [rows, …] → arrays with the same number of rows. Called from executor threads."""


@dataclass(eq=False, slots=True)
class Entry:
    """One request's rows, with the future its caller awaits."""

    rows: Rows
    reply: asyncio.Future[Outputs]
    queued_at: float
    waiting: int
    """Rows that no batch has taken."""
    answered: int = 0
    outputs: Outputs | None = None
    """Where the parts of a split entry are put together."""


@dataclass(eq=False, slots=True)
class Batch:
    """Rows of several entries that go through the graph together."""

    cut_at: float
    parts: list[tuple[Entry, slice]] = field(default_factory=list)
    rows: int = 0
    is_full: bool = False
    seconds: float = 0.0
    """How long the graph took."""
    outputs: Outputs | Exception = ()

    def assemble(self) -> Rows:
        if len(self.parts) == 1:
            entry, part = self.parts[0]
            return entry.rows[part]
        return np.concatenate([entry.rows[part] for entry, part in self.parts])


def answer(entry: Entry, part: slice, outputs: Outputs) -> None:
    """Give an entry the outputs of some of its rows; the last of them answers its caller."""
    if entry.reply.done():  # cancelled while the batch ran
        return
    entry.answered += part.stop - part.start
    if part.stop - part.start == len(entry.rows):
        entry.reply.set_result(outputs)
        return
    if entry.outputs is None:
        entry.outputs = tuple(np.empty((len(entry.rows), *o.shape[1:]), o.dtype) for o in outputs)
    for whole, piece in zip(entry.outputs, outputs, strict=True):
        whole[part] = piece
    if entry.answered == len(entry.rows):
        entry.reply.set_result(entry.outputs)


def check_rows(outputs: Sequence[Rows], rows: int) -> None:
    """Raises ValueError: a graph must give as many rows as it got."""
    for index, output in enumerate(outputs):
        if len(output) != rows:
            raise ValueError(f"output {index}: want {rows} rows, came {len(output)}")
