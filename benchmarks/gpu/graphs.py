"""The step ``graphs``: networks × sizes × ways of running them without a server, what matters most first."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu import bundles, step
from benchmarks.gpu.children import Child, ChildFailed, child
from benchmarks.gpu.step import Record, Told

_ORT = ("ort_host", "ort_bound", "ort_cuda_graph")
_TORCH = ("torch_eager", "torch_bfloat16")
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
    conv, large, too_large = (
        ((4, 64), (1, 2), ()) if told.rehearsed else ((1, 64, 256, 1024), (1, 8, 16), (64,))
    )
    ort = _ORT[:2] if told.rehearsed else _ORT
    for network, sizes in (("conv", conv), ("large", large)):
        yield from (Cell(network, "decoder", way, rows) for way in ort for rows in sizes)
    yield from (Cell("conv", "encoder", way, rows, True) for way in ort for rows in conv)
    for network, sizes in (("large", large), ("conv", conv)):
        yield from (Cell(network, "decoder", way, rows, True) for way in _TORCH for rows in sizes)
    yield from (Cell("large", "decoder", way, rows, True) for way in _ORT[:2] for rows in too_large)
    if not told.rehearsed:
        yield from (Cell("conv", "decoder", "torch_compile", rows, True) for rows in (64, 1024))
        yield Cell("large", "decoder", "torch_compile", 8, True)


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
    if timing["role"] == "decoder" and timing["way"].startswith("ort"):
        name = f"{timing['network']} {timing['rows']} rows {timing['way'].removeprefix('ort_')}"
        record.figure(f"{name} ms", round(timing["ms"], 3))


if __name__ == "__main__":
    step.main("graphs", work)
