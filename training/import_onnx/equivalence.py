"""Proof that the sealed graphs give what the foreign files gave, whatever the batch."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Gate
from training.export.parity import TOLERANCE, cpu_session
from training.training_error import TrainingError

Rows = NDArray[np.float32]
Compute = Callable[[Rows, Sequence[str] | None], list[Rows]]
"""Rows and the names of the outputs (None: all) → the outputs."""

BATCHES = (1, 2, 3)
"""Batch sizes compared; fewer than for the project's own exports, since foreign models are often large."""


def runner(content: bytes, label: str) -> Compute:
    """ONNX Runtime on the CPU for a graph with one input.

    Raises:
        TrainingError: ONNX Runtime cannot load it; from the function, cannot run it.
    """
    try:
        session = cpu_session(content)
    except Exception as exc:  # ONNX Runtime's exceptions share no other base
        raise TrainingError(f"{label}: ONNX Runtime cannot load it: {_first_line(exc)}") from None
    (entry,) = session.get_inputs()

    def run(rows: Rows, outputs: Sequence[str] | None) -> list[Rows]:
        try:
            return list(session.run(outputs, {entry.name: rows}))
        except Exception as exc:
            raise TrainingError(
                f"{label}: cannot run a batch of {len(rows)}, {list(rows.shape)}: {_first_line(exc)}"
            ) from None

    return run


def difference(sealed: Compute, wanted: Callable[[Rows], list[Rows]], rows: Rows) -> float:
    """Largest difference of the sealed graph to what was wanted, and to itself one row at a time.

    Relative to the largest value where that is beyond 1; infinite where a shape differs or a value is
    not finite.
    """
    rows = rows[: max(BATCHES)]
    alone = [np.concatenate(parts) for parts in zip(*(sealed(row[None], None) for row in rows), strict=True)]
    worst = 0.0
    for size in BATCHES:
        batch = rows[np.arange(size) % len(rows)]
        came = sealed(batch, None)
        same = [part[np.arange(size) % len(rows)] for part in alone]
        pairs = [*zip(came, wanted(batch), strict=True), *zip(came, same, strict=True)]
        worst = max([worst, *(_relative(one, other) for one, other in pairs)])
    return worst


def equivalence_gate(differences: dict[str, float], *, remark: str = "") -> Gate:
    """Every sealed graph gives what the file gave, and a row is the same whatever comes beside it.

    ``remark`` is added to what came.
    """
    return Gate(
        name="same_as_imported",
        wanted=f"within {TOLERANCE:g} of the imported file, in batches of {', '.join(map(str, BATCHES))}",
        came=", ".join(f"{label} {value:.2g}" for label, value in differences.items()) + remark,
        passed=all(value <= TOLERANCE for value in differences.values()),
        forced=False,
    )


def _relative(one: Rows, other: Rows) -> float:
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("inf")
    return float(np.abs(one - other).max() / max(1.0, float(np.abs(other).max())))


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:200]
