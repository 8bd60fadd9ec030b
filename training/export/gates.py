"""Gates: what a model must pass before it becomes a bundle, and who decides that it does."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from serving.bundle import Gate
from training.evaluate import Figure
from training.evaluate.metrics import ACTIVE_VARIANCE
from training.export.parity import SCORE_TOLERANCE, TOLERANCE
from training.pools import Posterior
from training.training_error import TrainingError

LEAST_NATS = 0.01
"""A latent whose posterior says less than this of an image, on average, has collapsed to the prior."""


def parity_gate(parities: Mapping[str, Mapping[str, float]]) -> Gate:
    """Every graph within the tolerance at every batch size; ``parities`` is graph → batch → difference."""
    worst = {graph: max(by_batch.items(), key=lambda item: item[1]) for graph, by_batch in parities.items()}
    allowed = {graph: SCORE_TOLERANCE if graph == "score" else TOLERANCE for graph in parities}
    and_score = f", the score within {SCORE_TOLERANCE:g} relatively" if "score" in parities else ""
    return Gate(
        name="parity",
        wanted=f"ONNX Runtime within {TOLERANCE:g} of PyTorch{and_score}",
        came=", ".join(f"{graph} {value:.2g} at batch {size}" for graph, (size, value) in worst.items()),
        passed=all(value <= allowed[graph] for graph, (_, value) in worst.items()),
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


def collapse_gate(posterior: Posterior) -> Gate:
    """At least one latent tells images apart: its posterior mean varies, its posterior is not the prior.

    Active units: arXiv:1509.00519, section 5. What a latent says is bounded by ½ log(1 + Var(mean) / E[var])
    nats, the capacity of the Gaussian channel, which holds for any prior, learned ones included.
    """
    mean, variance = posterior.mean.astype(np.float64), np.exp(posterior.log_var.astype(np.float64))
    spread = mean.var(axis=0)
    nats = 0.5 * np.log1p(spread / variance.mean(axis=0))
    active = (spread > ACTIVE_VARIANCE) & (nats > LEAST_NATS)
    largest = int(nats.argmax())
    return Gate(
        name="posterior_collapse",
        wanted=f"at least 1 active latent (variance of its mean above {ACTIVE_VARIANCE:g}, "
        f"more than {LEAST_NATS:g} nats)",
        came=f"{active.sum()} of {len(active)} active; latent {largest} says most, {nats[largest]:.2g} nats",
        passed=bool(active.any()),
        forced=False,
    )


def divergence_gate(rows: Sequence[Mapping[str, float | str]], *, beta: float) -> Gate | None:
    """The best loss on the validation images is finite and below the first one of the training.

    Both are distortion + β · rate with the β of the end, for the loss of the first steps has less of it.

    Args:
        rows: of ``log.jsonl``. None comes back where they do not say both losses.
    """
    losses = {"train": list[float](), "val": list[float]()}
    for row in rows:
        if row.get("kind") in losses and {"distortion", "rate"} <= row.keys():
            losses[str(row["kind"])].append(float(row["distortion"]) + beta * float(row["rate"]))
    if not losses["train"] or not losses["val"]:
        return None
    first = losses["train"][0]
    best = min(losses["val"], default=math.nan, key=lambda loss: loss if math.isfinite(loss) else math.inf)
    return Gate(
        name="divergence",
        wanted=f"a finite validation loss below the first loss of the training, {first:.4g}",
        came=f"{best:.4g}",
        passed=math.isfinite(best) and best < first,
        forced=False,
    )


class Admission:
    """Decides on the gates of one bundle.

    Gates are evaluated wherever their figures come from; here alone one that failed stops the bundle, or is
    overridden by ``--force``, and from here the manifest has its record of both.
    """

    def __init__(self, *, force: bool = False) -> None:
        self._force = force
        self._noted: tuple[Gate, ...] = ()
        self._decided: tuple[Gate, ...] = ()

    def note(self, gate: Gate, *, figures: Iterable[float]) -> None:
        """Keep a gate for the next decision.

        Args:
            figures: what it was taken from, to stand in the manifest. Where one is not finite it has no place
                there, so a gate that failed is refused at once, forced or not.

        Raises:
            TrainingError: see above.
        """
        if not gate.passed and not all(map(math.isfinite, figures)):
            raise _refusal([gate])
        self._noted += (gate,)

    def decide(self, *gates: Gate) -> tuple[Gate, ...]:
        """Admit what was noted and these gates.

        Returns:
            What the manifest says of all gates so far, the latest decision first, so that parity leads.

        Raises:
            TrainingError: without ``force``, naming each gate that failed.
        """
        gates, self._noted = (*self._noted, *gates), ()
        failed = [gate for gate in gates if not gate.passed]
        if failed and not self._force:
            raise _refusal(failed)
        admitted = (gate.model_copy(update={"forced": not gate.passed}) for gate in gates)
        self._decided = (*admitted, *self._decided)
        return self._decided


def _refusal(failed: Sequence[Gate]) -> TrainingError:
    reasons = "; ".join(f"gate {gate.name}: want {gate.wanted}, came {gate.came}" for gate in failed)
    return TrainingError(f"{reasons}; nothing was written")


def figures_of(metrics: Mapping[str, Figure]) -> dict[str, float]:
    """Values and standard errors alike."""
    errors = {f"{n}_se": f.standard_error for n, f in metrics.items() if f.standard_error is not None}
    return {name: figure.value for name, figure in metrics.items()} | errors
