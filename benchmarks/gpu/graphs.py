"""The step ``graphs``: networks × sizes × ways of running them without a server, what matters most first."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu import bundles, step
from benchmarks.gpu.children import Child, ChildFailed, child
from benchmarks.gpu.step import Record, Told

_REQUIRED = ("ort_host", "ort_bound", "ort_cuda_graph", "ours_recorded")
_OTHERS = ("ours_bound", "torch_eager", "torch_bfloat16")
_NOT_ON_CPU = ("ort_cuda_graph", "ours_recorded")
_SIZES = {"conv": (1, 64, 256, 1024), "large": (1, 8), "more": (16,), "compiled": (64, 1024), "most": (64,)}
"""Rows; ``more`` and ``most`` are of the large decoder: 64 rows may be more than the card's memory holds."""
_REHEARSED: dict[str, tuple[int, ...]]
_REHEARSED = {"conv": (4, 64), "large": (1, 2), "more": (), "compiled": (), "most": ()}
_LONGEST_S = 60.0
"""For one timing, the compilation of a module included."""


@dataclass(frozen=True)
class Cell:
    network: str
    role: str
    way: str
    rows: int
    optional: bool = False
    """Whether nothing falls short without it."""


def cells(told: Told) -> Iterator[Cell]:
    """In the order of what matters: a step that is cut lacks its last ones."""
    sizes = _REHEARSED if told.rehearsed else _SIZES
    for network in ("conv", "large"):
        for way in _REQUIRED:
            yield from (Cell(network, "decoder", way, rows) for rows in sizes[network])
    for way in _OTHERS:
        yield from (Cell("conv", "decoder", way, rows, True) for rows in sizes["conv"])
        yield from (Cell("large", "decoder", way, rows, True) for rows in sizes["large"])
    for way in _REQUIRED:
        yield from (Cell("conv", "encoder", way, rows, True) for rows in sizes["conv"])
        yield from (Cell("large", "decoder", way, rows, True) for rows in sizes["more"])
    yield from (Cell("conv", "decoder", "torch_compile", rows, True) for rows in sizes["compiled"])
    yield from (Cell("large", "decoder", way, rows, True) for way in _REQUIRED[:2] for rows in sizes["most"])


class Timings:
    """Of a child that is replaced when something failed: on a card its later work would fail as well."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._stack = contextlib.ExitStack()
        self._child: Child | None = None

    def __enter__(self) -> "Timings":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Raises ChildFailed."""
        if self._child is None:
            log = Path(self._told.work, "ways.log")
            arguments = ("--device", self._told.device, "--work", str(self._told.work))
            self._child = self._stack.enter_context(child("ways", log, *arguments))
        try:
            return self._child.ask(min(self._told.left_s(), _LONGEST_S), **question)
        except ChildFailed:
            self._stack.close()
            self._child = None
            raise


def work(told: Told, record: Record) -> None:
    failed: set[tuple[str, str, str]] = set()
    required = 0
    with Timings(told) as timings:
        record.row("ceilings", timings.ask())
        for cell in cells(told):
            what = f"{cell.network} {cell.role} {cell.way} {cell.rows}"
            if told.rehearsed and cell.way in _NOT_ON_CPU:
                continue
            if told.left_s() <= 0:
                record.missed(what, "no time was left")
            elif (cell.network, cell.role, cell.way) in failed:
                record.missed(what, "a smaller size failed")
            else:
                bundles.graph_file(told, cell.network, cell.role)  # once it is there
                try:
                    timing = timings.ask(**asdict(cell))
                except ChildFailed as exc:
                    failed.add((cell.network, cell.role, cell.way))
                    record.missed(what, str(exc))
                else:
                    _tell(record, timing)
                    continue
            required += not cell.optional
    record.check("timings that are missing, of the required ones", required == 0, required, "0")


def _tell(record: Record, timing: dict[str, Any]) -> None:
    record.row("timings", timing)
    if timing["role"] == "decoder" and timing["way"] in _REQUIRED:
        name = f"{timing['network']} {timing['rows']} rows {timing['way'].removeprefix('ort_')}"
        record.figure(f"{name} ms", round(timing["ms"], 3))


if __name__ == "__main__":
    step.main("graphs", work)
