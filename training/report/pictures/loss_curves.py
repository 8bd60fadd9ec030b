"""The course of a training: loss, distortion and rate over its steps."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

from training.charts import FAINT, chart_png, figure, styled

LINES: dict[str, dict[str, Any]] = {
    "train": {"color": "#9db4cc", "lw": 1.4, "label": "training"},
    "val": {"color": "#c0392b", "lw": 1.4, "marker": "o", "ms": 3.5, "label": "validation"},
}


def loss_curves(rows: Sequence[dict[str, Any]], *, loss: str) -> bytes:
    """PNG of the rows of ``log.jsonl``; nats per image. ``loss`` is the formula of the loss.

    Training rows are means of the steps since the row before, with the β of the time; validation rows are
    of the averaged weights, with the final β.
    """
    panels = {"loss": f"loss = {loss}", "distortion": "distortion", "rate": "rate (KL)"}
    with styled():
        made = figure(9.6, 3.2)
        for i, (key, name) in enumerate(panels.items()):
            ax = made.add_axes((0.055 + i * 0.33, 0.16, 0.275, 0.74), xlabel="step")
            ax.set_title(name, size=10, loc="left")
            for kind, style in LINES.items():
                points = [(row["step"], row[key]) for row in rows if row["kind"] == kind]
                ax.plot([step for step, _ in points], [value for _, value in points], **style)
            ax.set_ylim(*_limits([row[key] for row in rows]))
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        made.axes[0].legend(loc="upper right", labelcolor=FAINT)
    return chart_png(made)


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Room for all but the highest of the first twentieth, whose fall would flatten the rest."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite[len(finite) // 20 :])
    margin = max(0.06 * (high - low), 1e-3)
    return low - margin, high + margin
