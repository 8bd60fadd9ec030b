"""Golden rows: the graphs of a bundle must answer what PyTorch answered when it was sealed; one of less
precision, what it answered itself."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Bundle, BundleError, Role, tensors_of
from serving.modalities import modality_of
from serving.runtime.session import Session

Rows = NDArray[np.float32]

FILE = "golden.safetensors"
REDUCED_TOLERANCE = {"float32": 0.0, "float16": 0.01, "int8": 0.05}
"""Added for a graph of less precision, whose golden rows are its own answers: on another CPU a value that
lies between two steps may fall to the other side."""
TOLERANCE = 1e-3
"""Largest absolute difference to the trainer's PyTorch outputs. Wider than the exporter's 1e-4: another
CPU or a GPU adds in another order."""
SCORE_TOLERANCE = 1e-4
"""The same for a score, relative to its size, or to a nat a value of the row where it is smaller; the
exporter allows 1e-5."""

_ROWS = ""
"""Stands for what the encoder takes."""
_TENSORS: dict[Role, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "encoder": ((_ROWS,), ("mean", "log_var")),
    "decoder": (("latent",), ("decoded",)),
    "prior": (("prior_noise",), ("prior_latent",)),
    "score": ((_ROWS, "score_noise"), ("distortion", "rate", "log_weight", "column_distortion")),
}
"""Graph to the golden tensors that it takes and those that it gives; the last in kinds that have columns."""


def prove_parity(
    bundle: Bundle, sessions: Mapping[Role, Session], rows_at_once: Mapping[Role, int] | None = None
) -> None:
    """Run the golden inputs of every graph and compare; a bundle without golden rows is taken as it is.

    ``rows_at_once`` is how many each graph may be given; all, if it is not said.

    Raises:
        BundleError: naming the tensor and how far it is off.
    """
    if FILE not in bundle.manifest.files:
        return
    at_once = rows_at_once or {}
    golden = tensors_of(FILE, bundle.content(FILE))
    modality = modality_of(bundle)
    takes = modality.takes.name
    try:
        answers = {
            role: _answers(session, [golden[name or takes] for name in _TENSORS[role][0]], at_once.get(role))
            for role, session in sessions.items()
        }
    except KeyError as exc:
        raise BundleError(f"{FILE}: want a tensor {exc}") from None
    except MemoryError:
        raise
    except Exception as exc:  # whatever ONNX Runtime says, the graph cannot run its own golden input
        raise BundleError(f"{FILE}: the graphs cannot run it", str(exc)[:200]) from None
    precisions = {role: graph.precision for role, graph in bundle.manifest.graphs.items()}
    for role, outputs in answers.items():
        allowed = TOLERANCE + REDUCED_TOLERANCE[precisions[role]]
        for name, came in zip(_TENSORS[role][1], outputs, strict=False):
            _compare(
                name, golden.get(name), came, allowed, score_of=modality.values if role == "score" else None
            )


def _answers(session: Session, inputs: list[Rows], at_once: int | None) -> list[Rows]:
    """The graph's outputs for all rows, so many at once."""
    if not all(len(array) == len(inputs[0]) > 0 for array in inputs):
        raise ValueError("want at least one row, as many of each tensor")
    at_once = at_once or len(inputs[0])
    parts = [slice(start, start + at_once) for start in range(0, len(inputs[0]), at_once)]
    pieces = [session(*(array[part] for array in inputs)) for part in parts]
    return [np.concatenate(outputs) for outputs in zip(*pieces, strict=True)]


def _compare(name: str, wanted: Rows | None, came: Rows, allowed: float, *, score_of: int | None) -> None:
    """``score_of`` so many values, or else no score."""
    if wanted is None or wanted.shape != came.shape:
        raise BundleError(f"{FILE}: {name}: want shape {came.shape}")
    scale = 1.0 if score_of is None else np.maximum(np.abs(wanted), score_of)
    tolerance = allowed if score_of is None else SCORE_TOLERANCE
    difference = float((np.abs(wanted - came) / scale).max())
    if not difference <= tolerance:
        raise BundleError(
            f"{FILE}: {name}: differs from the golden rows by {difference:.2g}, want at most {tolerance:g}"
        )
