"""Gates: what a model must pass before it becomes a bundle."""

import math
from collections.abc import Iterable, Mapping

from serving.bundle import Gate
from training.errors import TrainingError
from training.evaluate import Figure
from training.export.parity import TOLERANCE


def parity_gate(parities: Mapping[str, Mapping[str, float]]) -> Gate:
    """Every graph within the tolerance at every batch size; ``parities`` is graph → batch → difference."""
    worst = {graph: max(by_batch.items(), key=lambda item: item[1]) for graph, by_batch in parities.items()}
    return Gate(
        name="parity",
        wanted=f"ONNX Runtime within {TOLERANCE:g} of PyTorch",
        came=", ".join(f"{graph} {value:.2g} at batch {size}" for graph, (size, value) in worst.items()),
        passed=all(value <= TOLERANCE for _, value in worst.values()),
        forced=False,
    )


def finite_gate(figures: Mapping[str, float]) -> Gate:
    """No figure of the evaluation is infinite or not a number."""
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    return Gate(
        name="finite_metrics",
        wanted="finite figures",
        came=", ".join(broken) + " not finite" if broken else f"{len(figures)} finite figures",
        passed=not broken,
        forced=False,
    )


def enforce(gates: Iterable[Gate]) -> None:
    """Raises TrainingError naming the first gate that failed."""
    for gate in gates:
        if not gate.passed:
            raise TrainingError(
                f"gate {gate.name}: want {gate.wanted}, came {gate.came}; nothing was written"
            )


def figures_of(metrics: Mapping[str, Figure]) -> dict[str, float]:
    """Values and standard errors alike."""
    errors = {f"{n}_se": f.standard_error for n, f in metrics.items() if f.standard_error is not None}
    return {name: figure.value for name, figure in metrics.items()} | errors
